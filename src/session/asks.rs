//! Orders and questions to devices: from a caller to the platform and back. Each is answered once.
//!
//! How many may be under way and how long an answer is waited for is the platform's part.

use crate::gb28181::{Answer, Ask, AskFailure, AskId, Command};
use crate::id::DeviceId;

use super::core::{Core, Output, RequestId};
use super::types::{Error, Reply};

impl Core {
    /// `Ask`. Errors: nothing was sent, and the caller is told at once.
    pub(super) fn ask(
        &mut self,
        request: RequestId,
        device: DeviceId,
        channel: Option<u32>,
        ask: Box<Ask>,
    ) -> Result<(), Error> {
        let known = self
            .registry
            .get(device)
            .ok_or(Error::NotFound { what: "device" })?;
        let target = match channel {
            None => device.0,
            Some(index) => {
                known
                    .channel(index)
                    .ok_or(Error::NotFound { what: "channel" })?
                    .0
            }
        };
        ask.check().map_err(Error::BadField)?;
        if !known.online {
            return Err(Error::DeviceOffline);
        }
        let id = self.new_ask_id();
        self.asks.insert(id, request);
        self.push(Output::Platform(Command::Ask {
            id,
            device,
            target,
            ask,
        }));
        Ok(())
    }

    pub(super) fn ask_ended(&mut self, id: AskId, outcome: Result<Answer, AskFailure>) {
        if self.order_ended(id, &outcome) {
            return;
        }
        let Some(request) = self.asks.remove(&id) else {
            return;
        };
        let reply = match outcome {
            Ok(answer) => Ok(Reply::Answer(Box::new(answer))),
            Err(failure) => Err(Error::Ask(failure)),
        };
        self.reply(request, reply);
    }
}
