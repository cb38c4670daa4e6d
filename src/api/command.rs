//! `/ws/event/command`: commands that this node hands to a client and that the client answers (bvcsp 3.6).
//!
//! Downlink `{"seq": 1, "cmd": "…", "data": …}`, uplink `{"seq": 1, "code": 0, "msg": "…", "data": …}` with the same
//! number. Who has the right to sends one by `POST /gantry/v1/command/{userid}`; it goes to every socket of that user, and
//! the first answer counts. Nobody there: code 5; no answer in time: code 6, with what was sent and how long was waited.
//! When a login ends its sockets are told `{"seq": 0, "cmd": "kickout"}`, which needs no answer, and closed.
//!
//! Bounds: [`limits::COMMANDS_WAITING_MAX`], [`limits::COMMAND_ANSWER_S`], those of other event sockets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, close_code};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{broadcast, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use utoipa::ToSchema;

use crate::limits;

use super::ApiState;
use super::caller::Admin;
use super::envelope::{Answer, Body, Code, Failure, Path};
use super::event::{SocketCaller, Upgrade, close};
use super::list::name;

/// A command on its way.
#[derive(Clone, Debug)]
struct Sent {
    user: Arc<str>,
    seq: u64,
    text: Arc<str>,
}

/// What a client answers.
#[derive(Debug, Deserialize)]
struct Answered {
    seq: u64,
    #[serde(default)]
    code: u8,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    data: Value,
}

/// Commands to clients and their answers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Commands {
    sent: broadcast::Sender<Sent>,
    state: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    /// Sockets of each user.
    sockets: HashMap<Arc<str>, usize>,
    answers: HashMap<u64, (Arc<str>, oneshot::Sender<Answered>)>,
}

impl Default for Commands {
    fn default() -> Commands {
        Commands {
            sent: broadcast::channel(limits::COMMANDS_WAITING_MAX).0,
            state: Arc::default(),
        }
    }
}

impl Commands {
    /// A panic elsewhere leaves the maps whole: each change is one call.
    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a command and waits for the first answer.
    async fn send(
        &self,
        user: &str,
        cmd: &str,
        data: &Value,
        limit: Duration,
    ) -> Result<Answered, Failure> {
        let (told, answer) = oneshot::channel();
        let seq = {
            let mut state = self.state();
            let Some((user, _)) = state.sockets.get_key_value(user) else {
                let msg = format!("{user:.64} has no command socket open");
                return Err(Failure::new(Code::Offline, msg));
            };
            let user = Arc::clone(user);
            if state.answers.len() >= limits::COMMANDS_WAITING_MAX {
                return Err(Failure::new(
                    Code::Busy,
                    "busy: at the limit commands under way",
                ));
            }
            state.last += 1;
            let seq = state.last;
            state.answers.insert(seq, (Arc::clone(&user), told));
            let text = serde_json::json!({"seq": seq, "cmd": cmd, "data": data}).to_string();
            let sent = Sent {
                user,
                seq,
                text: text.into(),
            };
            // Its sockets are counted, so somebody listens; one that goes now leaves the wait to its end.
            let _ = self.sent.send(sent);
            seq
        };
        let outcome = timeout(limit, answer).await;
        self.state().answers.remove(&seq);
        match outcome {
            Ok(Ok(answered)) => Ok(answered),
            Ok(Err(_)) | Err(_) => Err(Failure::new(
                Code::Timeout,
                format!("no answer to {cmd} within {:.1} s", limit.as_secs_f64()),
            )),
        }
    }

    fn answer(&self, user: &str, answered: Answered) {
        let mut state = self.state();
        // An answer of somebody else, or to what nobody waits for any more, is nothing.
        let ours = state
            .answers
            .get(&answered.seq)
            .is_some_and(|(of, _)| &**of == user);
        if ours && let Some((_, told)) = state.answers.remove(&answered.seq) {
            let _ = told.send(answered);
        }
    }

    fn come(&self, user: &Arc<str>) -> broadcast::Receiver<Sent> {
        let receiver = self.sent.subscribe();
        *self.state().sockets.entry(Arc::clone(user)).or_default() += 1;
        receiver
    }

    fn go(&self, user: &Arc<str>) {
        let mut state = self.state();
        if let Some(count) = state.sockets.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                state.sockets.remove(user);
            }
        }
    }
}

/// A command to a client.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CommandRequest {
    /// What it shall do, in words that the client knows.
    #[schema(example = "openDialog")]
    cmd: String,
    #[serde(default)]
    #[schema(value_type = Object)]
    data: Value,
}

/// What the client answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommandAnswer {
    pub code: u8,
    pub msg: String,
    #[schema(value_type = Object, nullable)]
    pub data: Value,
}

/// Sends a command to the clients of a user and waits for the first answer.
#[utoipa::path(post, path = "/gantry/v1/command/{userid}", operation_id = "sendCommand", tag = "event", security(("token" = [])),
    params(("userid" = String, Path, example = "admin")),
    request_body(content = CommandRequest, example = json!({"cmd": "openDialog", "data": {"id": "PU_34020000001110000001", "index": 0}})),
    responses((status = 200, body = Answer<CommandAnswer>, description = "in the envelope of bvcsp",
        example = json!({"code": 5, "msg": "admin has no command socket open"}))))]
pub async fn send(
    State(state): State<ApiState>,
    _: Admin,
    Path(user): Path<String>,
    Body(request): Body<CommandRequest>,
) -> Result<Answer<CommandAnswer>, Failure> {
    let cmd = name("cmd", Some(request.cmd))?;
    let Answered {
        code, msg, data, ..
    } = state
        .commands
        .send(&user, &cmd, &request.data, COMMAND_ANSWER)
        .await?;
    Ok(Answer::data(CommandAnswer { code, msg, data }))
}

/// Upgrades to a WebSocket of commands, which the client answers.
#[utoipa::path(get, path = "/bvcsp/v1/ws/event/command", operation_id = "commandEvents", tag = "event", security(("token" = [])),
    params(("token" = Option<String>, Query, description = "or as Sec-WebSocket-Protocol, or Authorization")),
    responses((status = 101, description = "commands follow"), (status = 401, description = "bad token: no upgrade")))]
pub async fn open(
    State(state): State<ApiState>,
    caller: SocketCaller,
    upgrade: Upgrade,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return Failure::new(Code::ErrorParam, "a WebSocket upgrade is needed").into_response();
    };
    let Some(login) = state.auth.check(&caller.token) else {
        return Failure::new(Code::AuthFail, "the login has ended").into_response();
    };
    let upgrade = upgrade.max_message_size(limits::EVENT_SOCKET_MESSAGE_BYTES_MAX);
    let upgrade = match caller.protocol {
        Some(protocol) => upgrade.protocols([protocol]),
        None => upgrade,
    };
    let user = login.user;
    upgrade.on_upgrade(move |socket| async move {
        let commands = state.commands.clone();
        let sent = commands.come(&user);
        serve(socket, sent, &state, &caller.token, &user).await;
        commands.go(&user);
    })
}

/// See [`limits::COMMAND_ANSWER_S`].
const COMMAND_ANSWER: Duration = Duration::from_secs(limits::COMMAND_ANSWER_S);

/// How often a socket looks whether its login has ended.
const LOOK: Duration = Duration::from_secs(1);

async fn serve(
    mut socket: WebSocket,
    mut sent: broadcast::Receiver<Sent>,
    state: &ApiState,
    token: &str,
    user: &Arc<str>,
) {
    let limit = Duration::from_secs(limits::EVENT_SOCKET_SEND_S_MAX);
    let mut last_uplink = Instant::now();
    let mut look = tokio::time::interval(LOOK);
    loop {
        let idle_end = last_uplink + state.event_idle;
        tokio::select! {
            uplink = timeout_at(idle_end, socket.recv()) => match uplink {
                Ok(Some(Ok(message))) => {
                    last_uplink = Instant::now();
                    if let Message::Text(text) = &message
                        && let Ok(answered) = serde_json::from_str::<Answered>(text.as_str())
                    {
                        state.commands.answer(user, answered);
                    }
                }
                Ok(Some(Err(_)) | None) => return,
                Err(_) => return close(socket, close_code::NORMAL, "a minute without traffic").await,
            },
            command = sent.recv() => match command {
                Ok(command) if command.user == *user => {
                    match timeout(limit, socket.send(Message::text(&*command.text))).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return,
                        Err(_) => {
                            tracing::debug!(seq = command.seq, "a client does not take a command");
                            return close(socket, close_code::AGAIN, "too slow").await;
                        }
                    }
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    return close(socket, close_code::AGAIN, "too slow").await;
                }
                Err(broadcast::error::RecvError::Closed) => return,
            },
            _ = look.tick() => {
                if state.auth.check(token).is_none() {
                    let text = serde_json::json!({"seq": 0, "cmd": "kickout", "data": null}).to_string();
                    let _ = timeout(limit, socket.send(Message::text(text))).await;
                    return close(socket, close_code::POLICY, "the login has ended").await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_is_answered_once_by_the_right_user() {
        let commands = Commands::default();
        let none = commands
            .send("a", "x", &Value::Null, COMMAND_ANSWER)
            .await
            .expect_err("nobody is there");
        assert_eq!(none.code, Code::Offline);
        let user: Arc<str> = "a".into();
        let mut taken = commands.come(&user);
        let asking = commands.clone();
        let asked =
            tokio::spawn(async move { asking.send("a", "x", &Value::Null, COMMAND_ANSWER).await });
        let sent = taken.recv().await.expect("sent");
        let answered = |code| Answered {
            seq: sent.seq,
            code,
            msg: String::new(),
            data: Value::Null,
        };
        commands.answer("b", answered(1));
        commands.answer("a", answered(2));
        commands.answer("a", answered(3));
        let answer = asked.await.expect("no panic").expect("answered");
        assert_eq!(answer.code, 2);
        commands.go(&user);
        assert!(commands.state().sockets.is_empty() && commands.state().answers.is_empty());
    }

    #[tokio::test]
    async fn a_silent_client_costs_the_time_and_says_so() {
        let commands = Commands::default();
        let _taken = commands.come(&"a".into());
        let failure = commands
            .send("a", "openDialog", &Value::Null, Duration::from_millis(1))
            .await
            .expect_err("silent");
        assert_eq!(failure.code, Code::Timeout);
        assert!(
            failure.msg.contains("openDialog") && failure.msg.contains("0.0 s"),
            "{}",
            failure.msg
        );
    }
}
