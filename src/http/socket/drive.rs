//! One socket, from the handshake to its end: reads, asks the protocol, does what it says, writes.
//!
//! Promises: one task and no queue: while the client does not take what it was sent, nothing more is read from it and no operation is
//! asked for more. A client that takes nothing for `sockets.slow_seconds` loses its subscriptions, each told with SLOW_CONSUMER and where
//! to go on; one that does not even take that within the same time again is cut off.

use super::operation::{Operation, Said, Saying};
use super::progress::{Counted, Taken};
use super::protocol::{self, Closing, Session, Step};
use super::rate::Rate;
use super::seats::{Badge, Seat, SocketOptions, Stopping};
use crate::access::Principal;
use crate::base::{Instant, Stopwatch};
use crate::http::Doors;
use crate::http::graphql::{Caller, caller};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Mostly nothing comes in but signs of life; what is larger makes it grow. The library's own size, 128 KiB, is for few sockets.
const READ_BUFFER: usize = 1024;
/// How long a client that was told to go may take to hang up.
const LINGER: Duration = Duration::from_secs(2);
/// Ticks without an answer to a ping after which nobody is there.
const SILENT_TICKS: u32 = 2;

/// What the handshake told of the client.
pub struct Visitor {
    /// The header `Authorization`, from clients that can set it.
    pub authorization: Option<String>,
    /// The page's origin, unless the page is our own; none: no browser.
    pub origin: Option<String>,
    pub is_own_page: bool,
}

type Connection = WebSocketStream<Counted<TokioIo<Upgraded>>>;

struct Driver {
    doors: Arc<Doors>,
    options: SocketOptions,
    connection: Connection,
    taken: Taken,
    stopping: Stopping,
    session: Session,
    operations: HashMap<Arc<str>, Operation>,
    sayer: mpsc::Sender<Box<Said>>,
    said: mpsc::Receiver<Box<Said>>,
    visitor: Visitor,
    /// Who it is, once that is known.
    client: Option<(Principal, Badge)>,
    /// When the key or token ends by itself.
    ends: Option<Instant>,
    /// Of operations.
    serial: u64,
    /// Anything came in since the last tick.
    heard: bool,
    silent_ticks: u32,
}

/// Drives a socket until it is closed.
pub async fn drive(upgraded: Upgraded, doors: Arc<Doors>, seat: Seat, visitor: Visitor) {
    let _seat = seat;
    let options = *doors.sockets.options();
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(options.max_message_bytes))
        .max_frame_size(Some(options.max_message_bytes));
    let (counted, taken) = Counted::new(TokioIo::new(upgraded));
    let connection = WebSocketStream::from_raw_socket(counted, Role::Server, Some(config)).await;
    let (sayer, said) = mpsc::channel(1);
    let mut driver = Driver {
        stopping: doors.sockets.stopping(),
        doors,
        options,
        connection,
        taken,
        session: Session::new(options.operations),
        operations: HashMap::new(),
        sayer,
        said,
        visitor,
        client: None,
        ends: None,
        serial: 0,
        heard: false,
        silent_ticks: 0,
    };
    metrics::gauge!("tributary_sockets_open").increment(1.0);
    let closing = driver.run().await;
    // What it ran ends before the client is told, which may take its time.
    driver.operations.clear();
    driver.client = None;
    let told = match closing.code {
        1000 => "client".to_owned(),
        1006 => "broken".to_owned(),
        code => code.to_string(),
    };
    tracing::debug!(code = closing.code, reason = closing.reason, "a socket was closed");
    driver.close(closing).await;
    metrics::gauge!("tributary_sockets_open").decrement(1.0);
    metrics::counter!("tributary_sockets_closed_total", "code" => told).increment(1);
}

/// What happened next.
enum Event {
    Came(Option<Result<Message, Error>>),
    Said(Box<Said>),
    Tick,
    KeyEnded,
    LookAtEnd,
    Stopping,
}

impl Driver {
    async fn run(&mut self) -> Closing {
        let watch = Stopwatch::start();
        let mut rate = Rate::new(self.options.messages_per_second);
        // First for `connection_init`, then for signs of life.
        let mut tick = Box::pin(sleep(self.options.init));
        let mut end: Option<Pin<Box<Sleep>>> = None;
        loop {
            let event = tokio::select! {
                biased;
                () = self.stopping.wait() => Event::Stopping,
                () = key_ended(&mut self.client) => Event::KeyEnded,
                came = self.connection.next() => Event::Came(came),
                Some(said) = self.said.recv() => Event::Said(said),
                () = &mut tick => Event::Tick,
                () = at(&mut end) => Event::LookAtEnd,
            };
            let done = match event {
                Event::Stopping => Err(Closing::going_away()),
                Event::KeyEnded => Err(Closing::unauthorized("Unauthorized: the key was revoked or has expired")),
                Event::Came(came) => {
                    self.heard = true;
                    let was_accepted = self.session.is_accepted();
                    let done = match rate.allows(watch.seconds()) {
                        true => self.came(came).await,
                        false => Err(Closing::too_many_messages()),
                    };
                    if !was_accepted && self.session.is_accepted() {
                        tick.set(sleep(self.options.ping));
                        end = self.next_look();
                    }
                    done
                }
                Event::Said(said) => self.say(*said).await,
                Event::Tick if !self.session.is_accepted() => Err(Closing::init_timeout()),
                Event::Tick => {
                    tick.set(sleep(self.options.ping));
                    self.ping().await
                }
                Event::LookAtEnd => {
                    end = self.next_look();
                    match self.has_ended() {
                        true => Err(Closing::unauthorized("Unauthorized: the token or key has expired")),
                        false => Ok(()),
                    }
                }
            };
            if let Err(closing) = done {
                return closing;
            }
        }
    }

    /// Something came in, or the connection ended.
    async fn came(&mut self, came: Option<Result<Message, Error>>) -> Result<(), Closing> {
        match came {
            Some(Ok(Message::Text(text))) => {
                let step = self.session.received(text.as_str());
                self.take(step).await
            }
            Some(Ok(Message::Binary(_))) => Err(Closing::not_text()),
            // The library answers pings.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(()),
            Some(Ok(Message::Close(_))) => Err(Closing::normal()),
            Some(Err(Error::Capacity(_))) => Err(Closing::too_large(self.options.max_message_bytes)),
            Some(Err(Error::Utf8(_))) => Err(Closing::bad_message("Invalid message: it is no UTF-8")),
            None | Some(Err(_)) => Err(Closing::broken()),
        }
    }

    async fn take(&mut self, step: Step) -> Result<(), Closing> {
        match step {
            Step::Nothing => Ok(()),
            Step::Reply(text) | Step::Refuse(text) => self.send(text).await,
            Step::Close(closing) => Err(closing),
            Step::Cancel(id) => {
                self.operations.remove(&id);
                Ok(())
            }
            Step::Authenticate(payload) => {
                self.client = Some(self.recognise(&payload).await?);
                let accepted = self.session.accept();
                self.send(accepted).await
            }
            Step::Start { id, request } => {
                let Some((principal, _)) = &self.client else {
                    return Err(Closing::unauthorized("Unauthorized"));
                };
                self.serial += 1;
                let named = (id.clone(), self.serial);
                let operation = Operation::start(&self.doors.graphql, principal.clone(), request, named, self.sayer.clone());
                self.operations.insert(id, operation);
                Ok(())
            }
        }
    }

    /// Who is it? Refusals say no more than HTTP does.
    async fn recognise(&mut self, payload: &Map<String, Value>) -> Result<(Principal, Badge), Closing> {
        let given = payload.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let given = match given {
            Some((_, value)) => value.as_str(),
            None => self.visitor.authorization.as_deref(),
        };
        let holder = match caller(&self.doors, given.unwrap_or_default()).await {
            Ok(Caller::Holder(holder)) => holder,
            Ok(Caller::Nobody | Caller::WriteKey) => return Err(Closing::forbidden()),
            Err(error) => {
                tracing::warn!(%error, "the database did not answer for a key");
                return Err(Closing::try_again("the database does not answer: try again"));
            }
        };
        if let Some(origin) = &self.visitor.origin
            && !holder.may_be_used_by(origin)
            && (holder.is_subject() || !self.visitor.is_own_page)
        {
            return Err(Closing::origin_not_allowed());
        }
        let Some(badge) = self.doors.sockets.badge(&holder) else {
            return Err(Closing::try_again("too many connections of this key"));
        };
        self.ends = holder.ends;
        // Known for as long as it is needed, and no longer.
        self.visitor.authorization = None;
        Ok((holder.principal, badge))
    }

    /// When to look whether the key or token has ended: at its end, and in between, since clocks are set.
    fn next_look(&self) -> Option<Pin<Box<Sleep>>> {
        let left = self.ends?.micros().saturating_sub(self.doors.services.now().micros());
        let left = Duration::from_micros(u64::try_from(left).unwrap_or_default());
        Some(Box::pin(sleep(left.min(self.options.recheck))))
    }

    fn has_ended(&self) -> bool {
        self.ends.is_some_and(|end| self.doors.services.now() >= end)
    }

    async fn ping(&mut self) -> Result<(), Closing> {
        self.silent_ticks = if self.heard { 0 } else { self.silent_ticks + 1 };
        self.heard = false;
        if self.silent_ticks >= SILENT_TICKS {
            return Err(Closing::silent());
        }
        self.send(protocol::PING.to_owned()).await
    }

    /// Passes on what an operation said.
    async fn say(&mut self, said: Said) -> Result<(), Closing> {
        let Said { id, serial, saying } = said;
        let Some(operation) = self.operations.get_mut(&id).filter(|operation| operation.serial == serial) else {
            return Ok(());
        };
        match saying {
            Saying::Next { result, cursor } => {
                if cursor.is_some() {
                    operation.cursor = cursor;
                }
                self.send(protocol::next(&id, &result)).await?;
                if let Some(operation) = self.operations.get(&id) {
                    operation.go_on();
                }
                Ok(())
            }
            Saying::Error(errors) => {
                self.forget(&id);
                self.send(protocol::error(&id, &errors)).await
            }
            Saying::Complete => {
                self.forget(&id);
                self.send(protocol::complete(&id)).await
            }
        }
    }

    fn forget(&mut self, id: &str) {
        self.session.ended(id);
        self.operations.remove(id);
    }

    /// Sends one text. A client that does not take it loses its subscriptions.
    async fn send(&mut self, text: String) -> Result<(), Closing> {
        if self.write(text).await? {
            return Ok(());
        }
        let slow = self.end_subscriptions();
        if !self.flush().await? {
            return Err(Closing::try_again("nothing was read for too long"));
        }
        for (id, cursor) in slow {
            let message = "nothing was read for too long: subscribe again, behind the cursor of the last batch that came";
            let text = protocol::failed(&id, "SLOW_CONSUMER", message, cursor.as_deref());
            if !self.write(text).await? {
                return Err(Closing::try_again("nothing was read for too long"));
            }
        }
        Ok(())
    }

    fn end_subscriptions(&mut self) -> Vec<(Arc<str>, Option<String>)> {
        let ended = self.operations.extract_if(|_, operation| operation.is_subscription);
        let ended: Vec<_> = ended.map(|(id, mut operation)| (id, operation.cursor.take())).collect();
        for (id, _) in &ended {
            self.session.ended(id);
        }
        if !ended.is_empty() {
            metrics::counter!("tributary_subscriptions_slow_total").increment(ended.len() as u64);
            tracing::info!(subscriptions = ended.len(), "a socket was too slow for its subscriptions");
        }
        ended
    }

    /// `false`: it waits to be taken.
    async fn write(&mut self, text: String) -> Result<bool, Closing> {
        let fed = self.connection.feed(Message::text(text)).await;
        fed.map_err(|_| Closing::broken())?;
        self.flush().await
    }

    /// Waits until everything written was taken; `false` when nothing at all was taken for too long.
    async fn flush(&mut self) -> Result<bool, Closing> {
        /// So that a client that took something a moment ago is not taken for one that took nothing.
        const LOOKS: u32 = 4;
        let (mut quiet, mut before) = (0, self.taken.bytes());
        while quiet < LOOKS {
            tokio::select! {
                biased;
                flushed = self.connection.flush() => return flushed.map(|()| true).map_err(|_| Closing::broken()),
                () = self.stopping.wait() => return Err(Closing::going_away()),
                () = sleep(self.options.slow / LOOKS) => {}
            }
            let taken = self.taken.bytes();
            quiet = if taken == before { quiet + 1 } else { 0 };
            before = taken;
        }
        Ok(false)
    }

    /// Says why, as far as it can be said in time, and hangs up.
    async fn close(mut self, closing: Closing) {
        let farewell = async {
            match closing.code {
                // The library's answer to the client's own farewell.
                1000 => self.connection.flush().await?,
                1006 => return Ok(()),
                code => {
                    let frame = CloseFrame {
                        code: code.into(),
                        reason: closing.reason.into(),
                    };
                    self.connection.feed(Message::Close(Some(frame))).await?;
                    self.connection.flush().await?;
                }
            }
            let raw = self.connection.get_mut();
            raw.shutdown().await?;
            // What the client still sends is read to the end: hanging up on unread bytes would take the farewell back.
            let mut unread = [0; 1024];
            while raw.read(&mut unread).await? > 0 {}
            Ok::<(), Error>(())
        };
        // Whether it arrives is not ours to know.
        let _ = timeout(LINGER, farewell).await;
    }
}

async fn key_ended(client: &mut Option<(Principal, Badge)>) {
    match client {
        Some((_, badge)) => badge.ended().await,
        None => pending().await,
    }
}

async fn at(time: &mut Option<Pin<Box<Sleep>>>) {
    match time {
        Some(time) => time.await,
        None => pending().await,
    }
}
