//! Loaders that answer all questions of one level of a query in one statement, always.
//!
//! The library's loader waits a millisecond on a timer for further questions and then asks on another thread: on a busy machine it asks
//! too early and a page takes more statements, on an idle one it waits in vain. Here a loader's work runs in the task of its own request,
//! in rounds: the query goes as far as it can, then everything it asked for is loaded at once, then it goes on. So every sibling has
//! asked, the number of statements does not depend on luck, and nobody waits for a clock. What is known is answered on the spot.

use super::loaders::Questions;
use async_graphql::dataloader::Loader;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// Hands what a load found to whoever asked.
type Delivery = Box<dyn FnOnce() + Send>;

/// Loads that one request has asked for and nobody runs yet.
pub struct Waiting(UnboundedReceiver<BoxFuture<'static, Delivery>>);

/// The loaders of one request: what they know, and what they were asked.
pub struct Loaders {
    questions: Arc<Questions>,
    kinds: Arc<Mutex<Kinds>>,
    later: UnboundedSender<BoxFuture<'static, Delivery>>,
}

/// Lets the loaders of one request forget: what they know is of the last emission.
pub struct Forgetful(Arc<Questions>, Arc<Mutex<Kinds>>);

impl Forgetful {
    /// Nobody waits for an answer meanwhile.
    pub fn forget(&self) {
        self.0.forget();
        self.1.lock().expect("no panic happens while it is held").clear();
    }
}

/// An `Answers` for each type of key.
type Kinds = HashMap<TypeId, Box<dyn Any + Send>>;
type ValueOf<K> = <Questions as Loader<K>>::Value;
type ErrorOf<K> = <Questions as Loader<K>>::Error;
type FoundOne<K> = Result<Option<ValueOf<K>>, ErrorOf<K>>;
type Found<K> = Result<HashMap<K, ValueOf<K>>, ErrorOf<K>>;

/// What somebody asked together, and where they wait for the answer.
type Asking<K, V, E> = (Vec<K>, oneshot::Sender<Result<HashMap<K, V>, E>>);

/// Questions of one type: answered ones, where none means that there is nothing to answer, and those who wait for the next load.
struct Answers<K, V, E> {
    known: HashMap<K, Option<V>>,
    wanted: HashSet<K>,
    waiting: Vec<Asking<K, V, E>>,
}

impl<K: Hash + Eq + Clone, V: Clone, E> Answers<K, V, E> {
    fn of(&self, keys: &[K]) -> HashMap<K, V> {
        keys.iter()
            .filter_map(|key| Some((key.clone(), self.known.get(key)?.clone()?)))
            .collect()
    }
}

/// The loaders of one request, and what they will want to load.
pub fn loaders(questions: Questions) -> (Loaders, Waiting) {
    let (later, receiver) = unbounded_channel();
    let loaders = Loaders {
        questions: Arc::new(questions),
        kinds: Arc::default(),
        later,
    };
    (loaders, Waiting(receiver))
}

impl Loaders {
    /// Forgets every answer, for a stream that goes on.
    pub fn forgetful(&self) -> Forgetful {
        Forgetful(self.questions.clone(), self.kinds.clone())
    }

    pub fn questions(&self) -> &Questions {
        &self.questions
    }

    /// One answer; `None` when there is nothing to answer.
    pub async fn load_one<K>(&self, key: K) -> FoundOne<K>
    where
        K: Send + Sync + Hash + Eq + Clone + 'static,
        Questions: Loader<K>,
    {
        if let Some(known) = answers::<K>(&mut self.locked()).known.get(&key) {
            return Ok(known.clone());
        }
        Ok(self.load_many([key.clone()]).await?.remove(&key))
    }

    /// Many answers; what has none is left out.
    pub async fn load_many<K>(&self, keys: impl IntoIterator<Item = K>) -> Found<K>
    where
        K: Send + Sync + Hash + Eq + Clone + 'static,
        Questions: Loader<K>,
    {
        let keys: Vec<K> = keys.into_iter().collect();
        let answer = {
            let mut kinds = self.locked();
            let answers = answers::<K>(&mut kinds);
            let unknown = keys.iter().filter(|key| !answers.known.contains_key(key));
            let unknown: Vec<K> = unknown.cloned().collect();
            if unknown.is_empty() {
                return Ok(answers.of(&keys));
            }
            let (sender, answer) = oneshot::channel();
            let is_first = answers.waiting.is_empty();
            answers.wanted.extend(unknown);
            answers.waiting.push((keys, sender));
            if is_first {
                // A request that has ended needs no answer.
                let _ = self
                    .later
                    .send(Box::pin(load::<K>(self.questions.clone(), self.kinds.clone())));
            }
            answer
        };
        answer.await.expect("a load answers everybody who waits for it")
    }

    /// Answers that are known already.
    pub fn feed<K>(&self, known: impl IntoIterator<Item = (K, ValueOf<K>)>)
    where
        K: Send + Sync + Hash + Eq + Clone + 'static,
        Questions: Loader<K>,
    {
        let known = known.into_iter().map(|(key, value)| (key, Some(value)));
        answers::<K>(&mut self.locked()).known.extend(known);
    }

    /// Forgets the answers of one type.
    pub fn clear<K>(&self)
    where
        K: Send + Sync + Hash + Eq + Clone + 'static,
        Questions: Loader<K>,
    {
        answers::<K>(&mut self.locked()).known.clear();
    }

    fn locked(&self) -> MutexGuard<'_, Kinds> {
        self.kinds.lock().expect("no panic happens while it is held")
    }
}

fn answers<K>(kinds: &mut Kinds) -> &mut Answers<K, ValueOf<K>, ErrorOf<K>>
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    Questions: Loader<K>,
{
    let fresh = || -> Box<dyn Any + Send> {
        Box::new(Answers::<K, ValueOf<K>, ErrorOf<K>> {
            known: HashMap::new(),
            wanted: HashSet::new(),
            waiting: Vec::new(),
        })
    };
    let answers = kinds.entry(TypeId::of::<K>()).or_insert_with(fresh);
    answers.downcast_mut().expect("kept under the type of its key")
}

/// Loads what is wanted of one type by now.
async fn load<K>(questions: Arc<Questions>, kinds: Arc<Mutex<Kinds>>) -> Delivery
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    Questions: Loader<K>,
{
    const UNHARMED: &str = "no panic happens while it is held";
    let (wanted, waiting) = {
        let mut kinds = kinds.lock().expect(UNHARMED);
        let answers = answers::<K>(&mut kinds);
        (std::mem::take(&mut answers.wanted), std::mem::take(&mut answers.waiting))
    };
    let wanted: Vec<K> = wanted.into_iter().collect();
    let found = questions.load(&wanted).await;
    Box::new(move || {
        let mut kinds = kinds.lock().expect(UNHARMED);
        let answers = answers::<K>(&mut kinds);
        let outcome = found.map(|mut found| {
            for key in wanted {
                let value = found.remove(&key);
                answers.known.insert(key, value);
            }
        });
        for (keys, sender) in waiting {
            // Whoever asked may have gone.
            let _ = sender.send(outcome.clone().map(|()| answers.of(&keys)));
        }
    })
}

/// Runs a query in rounds: as far as it gets, then all loads it asked for, then on. What a round found is handed over at its end and all at
/// once: a query that knew the first of it would ask for what the rest is about to tell, if the database happens to be quicker with the first.
pub async fn run_with_loads<T>(query: impl Future<Output = T>, waiting: &mut Waiting) -> T {
    // Tokio lets a task see so many answers in one go and no more. A query that saw but some of them would ask for the rest in a round of
    // its own.
    let mut query = pin!(tokio::task::unconstrained(query));
    let mut round = FuturesUnordered::new();
    let mut found = Vec::new();
    poll_fn(|context| {
        loop {
            while let Poll::Ready(Some(delivery)) = round.poll_next_unpin(context) {
                found.push(delivery);
            }
            if round.is_empty() {
                found.drain(..).for_each(|deliver: Delivery| deliver());
            }
            // In the middle of a round, too: the query may hold a connection that it was given for a statement of its own, and the round
            // may wait for just that. What it asks for meanwhile waits for the next round, with everything else.
            if let Poll::Ready(answer) = query.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            if !round.is_empty() {
                return Poll::Pending;
            }
            while let Ok(load) = waiting.0.try_recv() {
                round.push(load);
            }
            if round.is_empty() {
                // It waits for something that is no load, and will be woken by it.
                return Poll::Pending;
            }
        }
    })
    .await
}
