//! Runs the session core and the GB/T 28181 platform on the control thread, with their sockets.

use tokio::sync::{broadcast, mpsc, oneshot};

use super::types::{Command, Error, Event, Reply};

/// A command with the place for its answer.
pub type Call = (Command, oneshot::Sender<Result<Reply, Error>>);

/// Talks to the control thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    calls: mpsc::Sender<Call>,
    events: broadcast::Sender<Event>,
}

impl Handle {
    /// `calls` leads to the control thread; `events` is where it tells.
    pub fn new(calls: mpsc::Sender<Call>, events: broadcast::Sender<Event>) -> Handle {
        Handle { calls, events }
    }

    /// Asks and waits for the answer. [`Error::ShuttingDown`] when the control thread is gone.
    pub async fn call(&self, command: Command) -> Result<Reply, Error> {
        let (answer, wait) = oneshot::channel();
        self.calls
            .send((command, answer))
            .await
            .map_err(|_| Error::ShuttingDown)?;
        wait.await.map_err(|_| Error::ShuttingDown)?
    }

    /// What happens from now on. A receiver that falls behind loses the oldest.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}
