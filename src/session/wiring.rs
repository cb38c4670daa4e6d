//! The platform and the session core, wired to each other: what one says to the other goes there, and what is for the world
//! comes out. The control thread drives them with it, and the simulated node of the tests does.

use std::time::Instant;

use super::core::{Core, Output, Persist, RequestId};
use super::port::MediaCommand;
use super::types::{Error, Event, Reply};
use crate::gb28181::{self, Platform};
use crate::sip::Transmit;

/// What is for the world.
#[derive(Debug)]
pub enum Outward {
    Transmit(Transmit),
    Reply(RequestId, Result<Reply, Error>),
    Media { shard: u8, command: MediaCommand },
    Event(Event),
    Persist(Persist),
}

/// The next thing that is for the world; `None` = neither has anything to say any more. To be drained after every
/// `handle_*` of either.
pub fn poll(now: Instant, platform: &mut Platform, core: &mut Core) -> Option<Outward> {
    loop {
        match platform.poll_output() {
            Some(gb28181::Output::Transmit(transmit)) => return Some(Outward::Transmit(transmit)),
            Some(gb28181::Output::Event(event)) => {
                core.handle_platform(now, event);
                continue;
            }
            None => {}
        }
        return Some(match core.poll_output()? {
            Output::Platform(command) => {
                platform.handle_command(now, command);
                continue;
            }
            Output::Messages { request, device } => {
                let messages = platform.messages(device).cloned().collect();
                Outward::Reply(request, Ok(Reply::Messages(messages)))
            }
            Output::Reply(request, reply) => Outward::Reply(request, reply),
            Output::Media { shard, command } => Outward::Media { shard, command },
            Output::Event(event) => Outward::Event(event),
            Output::Persist(persist) => Outward::Persist(persist),
        });
    }
}
