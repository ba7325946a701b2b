//! A daemon that serves: what runs, how another process gets it, and how it comes to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::house::House;
use super::serve::Open;
use super::sockets::Sockets;
use super::upgrade::LAST_WORD;
use super::upgrade::ask::Asker;
use super::upgrade::heir::Heir;
use super::upgrade::next::{Next, StartedBy, UpgradeError};
use super::upgrade::successor::Successor;
use super::{meter, service, stopping};
use crate::admin::upgrade::Upgrader;
use crate::front::metrics;
use crate::front::ssh::listener;
use crate::git::Git;
use crate::usage::{self, Usage};

/// How long those who are connected may take until it is decided what they come to, while another process waits for the
/// registry. Meanwhile nobody new gets in; a login takes much less.
const SETTLE: Duration = Duration::from_secs(5);
/// How long those who are cut may take to hear why.
const LAST_SENTENCES: Duration = Duration::from_secs(2);
/// How long answers may take to end after their line was cut.
const LAST_RECORDS: Duration = Duration::from_secs(2);

/// How often answers are looked through whose time may be over.
const TIDY: Duration = Duration::from_secs(60);

/// Everything that runs.
pub(super) struct Serving {
    house: House,
    sockets: Arc<Sockets>,
    started_by: Option<StartedBy>,
    asker: Arc<Asker>,
    ends: listener::Ends,
    doors: JoinSet<()>,
    /// The door for who watches, which is open until all else has ended.
    watched: Option<(CancellationToken, JoinHandle<()>)>,
    background: JoinSet<()>,
}

impl Serving {
    pub(super) fn begin(open: Open, asker: Asker) -> Self {
        let Open { house, sockets, started_by } = open;
        let (sockets, asker, ends) = (Arc::new(sockets), Arc::new(asker), listener::Ends::default());
        let mut background = JoinSet::new();
        background.spawn(service::alive());
        Self { house, sockets, started_by, asker, ends, doors: JoinSet::new(), watched: None, background }
    }

    /// Lets people in at every door.
    pub(super) fn let_in(&mut self) {
        let Self { house, sockets, started_by, asker, ends, doors, watched, background } = self;
        stopping::forget(&house.config.control.socket);
        ends.accepting = CancellationToken::new();
        *watched = sockets.metrics.as_ref().map(|listener| {
            let numbers = meter::numbers(house);
            let (lookup, store) = (house.lookup.clone(), house.store.clone());
            let door = metrics::Door::new(numbers, lookup, store, ends.accepting.clone());
            if let Some(address) = house.config.metrics {
                tracing::info!(%address, "metrics are told");
            }
            let stop = CancellationToken::new();
            (stop.clone(), tokio::spawn(metrics::run(Arc::new(door), Arc::clone(listener), stop)))
        });
        for listener in &sockets.ssh {
            match listener.local_addr() {
                Ok(address) => tracing::info!(%address, "serving SSH"),
                Err(error) => tracing::warn!(%error, "serving SSH at an address that cannot be told"),
            }
            doors.spawn(listener::run(house.reloader.doors(), Arc::clone(listener), ends.clone()));
        }
        let admin = match started_by {
            Some(_) => house.admin.clone().with_upgrader(Arc::clone(asker) as Arc<dyn Upgrader>),
            None => house.admin.clone(),
        };
        doors.spawn(Arc::clone(&sockets.control).serve(admin, ends.accepting.clone().cancelled_owned()));
        background.spawn(keep_uses(house.usage.clone(), ends.accepting.clone()));
        background.spawn(keep_tidy(house.git.clone(), ends.accepting.clone()));
    }

    /// Tells the daemon whose place this one takes that the doors are open, and waits until it is this one's turn.
    pub(super) async fn is_the_daemon(&self, successor: Successor) {
        match tokio::task::spawn_blocking(|| successor.serving()).await {
            Ok(Ok(())) => tracing::info!("serving in the place of the process that started this one"),
            // It serves in any case.
            Ok(Err(error)) => tracing::warn!(%error, "the process that started this one does not say that it is over"),
            Err(error) => tracing::warn!(%error, "the process that started this one cannot be heard"),
        }
        if let Err(error) = self.sockets.control.claim() {
            tracing::error!(%error, "the operators that the config names may not get to the control socket");
        }
        if let Some(moved) = &self.sockets.moved
            && let Err(error) = std::fs::remove_file(moved)
        {
            tracing::warn!(%error, socket = %moved.display(), "the control socket that was there before cannot be removed");
        }
    }

    /// Has another process take the place of this one. When it cannot, this one goes on, or is over if it is to stop.
    pub(super) async fn upgrade(&mut self, stop: &CancellationToken) -> Result<Heir, UpgradeError> {
        let started_by = self.started_by.clone().ok_or(UpgradeError::Stopping)?;
        let sockets = Arc::clone(&self.sockets);
        let next = Arc::new(blocking(move || Next::start(&started_by, &sockets)).await??);
        said(&next, Next::prepared, stop).await?;
        // Who comes from now on waits in the kernel's queue for whoever accepts again.
        self.ends.accepting.cancel();
        let handed = self.hand_over(next, stop).await;
        if let Err(error) = &handed
            // What is begun needs no registry, and nothing more begins.
            && !stop.is_cancelled()
        {
            tracing::warn!(%error, "another process could not take over: this one opens the registry again");
            // Those inside stand before a gate that is closed for good: they are to come again.
            std::mem::take(&mut self.ends.staying).cancel();
            tokio::task::block_in_place(|| self.house.reopen()).map_err(|error| UpgradeError::Lost(Box::new(error)))?;
            self.let_in();
        }
        handed
    }

    /// Closes the registry, and lets the next process open it. The next one is ended when this fails.
    async fn hand_over(&mut self, next: Arc<Next>, stop: &CancellationToken) -> Result<Heir, UpgradeError> {
        let settled = tokio::time::timeout(SETTLE, self.house.door.decided());
        match stop.run_until_cancelled(settled).await {
            None => return Err(UpgradeError::Stopping),
            Some(Err(_)) => {
                tracing::info!("some who are connected have not asked for anything yet: they may have to come again");
            }
            Some(Ok(())) => {}
        }
        let admin = self.house.admin.clone();
        blocking(move || admin.close()).await?;
        if tokio::time::timeout(SETTLE, self.sockets.control.idle()).await.is_err() {
            tracing::warn!("an operator's request takes long, and may not get its record");
        }
        close_metrics(&mut self.watched).await;
        let (usage, audit) = (self.house.usage.clone(), self.house.audit.clone());
        let give_back = move || {
            write_down(&usage);
            audit.checkpoint();
            audit.unchain();
        };
        blocking(give_back).await?;
        said(&next, Next::released, stop).await?;
        // It serves: there is no way back, unless it is gone again.
        let heir = Arc::into_inner(next).ok_or(UpgradeError::Stopping)?.yours()?;
        self.sockets.control.leave();
        Ok(heir)
    }

    /// Lets what runs come to its end, and leaves everything in its place, which somebody else may have been `handed`.
    pub(super) async fn end(self, handed: bool) {
        let Self { house, sockets, ends, mut doors, mut watched, mut background, started_by: _, asker: _ } = self;
        let limit = house.config.limits.drain;
        if !handed {
            service::stopping();
        }
        let said = if handed { None } else { stopping::say(&house.config.control.socket, limit) };
        tracing::info!(?limit, "stopping: nobody new is let in, what runs may finish");
        ends.accepting.cancel();
        ends.staying.cancel();
        // Who comes now is refused by the kernel, and does not wait in a queue that nobody looks at. Each door that is still
        // needed has its own handle.
        drop(sockets);
        let finished = async { while doors.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, finished).await.is_err() {
            tracing::warn!("stopping: what still runs is cut");
            house.cut.begin();
            let told = async { while doors.join_next().await.is_some() {} };
            if tokio::time::timeout(LAST_SENTENCES, told).await.is_err() {
                ends.cut.cancel();
                while doors.join_next().await.is_some() {}
            }
        }
        // What was used while the doors closed counts too.
        write_uses(&house.usage).await;
        // Whose line was cut still leaves a record.
        if tokio::time::timeout(LAST_RECORDS, house.door.answered()).await.is_err() {
            tracing::warn!("stopping: an answer did not end in time");
        }
        let audit = house.audit.clone();
        audit.checkpoint();
        if tokio::task::spawn_blocking(move || audit.flush()).await.is_err() {
            tracing::warn!("stopping: the last audit records may not be written");
        }
        background.shutdown().await;
        close_metrics(&mut watched).await;
        // The registry is closed with it, which may take a while: until then this daemon is still stopping.
        drop(house);
        drop(said);
        tracing::info!("stopped");
    }
}

/// Waits for what the next process says. A daemon that is to stop meanwhile tells that one to stop; what it says last counts:
/// whoever has begun to serve is not taken away from its clients.
async fn said(
    next: &Arc<Next>,
    says: fn(&Next) -> Result<(), UpgradeError>,
    stop: &CancellationToken,
) -> Result<(), UpgradeError> {
    let other = Arc::clone(next);
    let mut said = std::pin::pin!(blocking(move || says(&other)));
    if let Some(said) = stop.run_until_cancelled(&mut said).await {
        return said?;
    }
    tracing::info!("stopping: the process that was to take over is ended");
    next.stop();
    let last = match tokio::time::timeout(LAST_WORD, &mut said).await {
        Ok(said) => said,
        Err(_) => {
            next.kill();
            said.await
        }
    };
    last?.map_err(|_| UpgradeError::Stopping)
}

async fn close_metrics(watched: &mut Option<(CancellationToken, JoinHandle<()>)>) {
    let Some((stop, task)) = watched.take() else { return };
    stop.cancel();
    if task.await.is_err() {
        tracing::warn!("the metrics listener ended in a panic");
    }
}

/// What waits for a disk or another process, not on a thread that others wait for.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, UpgradeError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| UpgradeError::Stopping)
}

/// Writes now and then when keys were used, until the end.
async fn keep_uses(usage: Usage, stopping: CancellationToken) {
    while tokio::time::timeout(usage::EVERY, stopping.cancelled()).await.is_err() {
        write_uses(&usage).await;
    }
}

/// Gives back now and then what is kept of answers whose time is over, until the end.
async fn keep_tidy(git: Git, stopping: CancellationToken) {
    while tokio::time::timeout(TIDY, stopping.cancelled()).await.is_err() {
        let git = git.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || git.tidy()).await {
            tracing::warn!(%error, "what is kept cannot be looked through");
        }
    }
}

async fn write_uses(usage: &Usage) {
    let usage = usage.clone();
    if let Err(error) = tokio::task::spawn_blocking(move || write_down(&usage)).await {
        tracing::warn!(%error, "when keys were used cannot be written");
    }
}

fn write_down(usage: &Usage) {
    if let Err(error) = usage.write() {
        tracing::warn!(%error, "when keys were used cannot be written; it is tried again");
    }
}
