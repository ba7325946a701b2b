//! What the SSH door tells about itself: who is inside, and which of its bounds and clocks were needed.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// A bound or a clock of `[limits]` that somebody met, by its name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Connections,
    ConnectionsPerKey,
    Startups,
    StartupsPerNetwork,
    Banner,
    Login,
    Idle,
    GroupExchanges,
    Channels,
    Keys,
    Guesses,
    Keepalive,
    Sent,
    Unread,
    UnreadInAll,
}

impl Limit {
    const ALL: [Self; 15] = [
        Self::Connections,
        Self::ConnectionsPerKey,
        Self::Startups,
        Self::StartupsPerNetwork,
        Self::Banner,
        Self::Login,
        Self::Idle,
        Self::GroupExchanges,
        Self::Channels,
        Self::Keys,
        Self::Guesses,
        Self::Keepalive,
        Self::Sent,
        Self::Unread,
        Self::UnreadInAll,
    ];

    /// Its name under `[limits]`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerKey => "connections_per_key",
            Self::Startups => "startups",
            Self::StartupsPerNetwork => "startups_per_network",
            Self::Banner => "banner_seconds",
            Self::Login => "login_seconds",
            Self::Idle => "connection_idle_seconds",
            Self::GroupExchanges => "group_exchanges",
            Self::Channels => "channels_per_connection",
            Self::Keys => "keys_per_connection",
            Self::Guesses => "guesses_per_network",
            Self::Keepalive => "keepalive_seconds",
            Self::Sent => "sent_mib_per_fetch",
            Self::Unread => "unread_mib_per_fetch",
            Self::UnreadInAll => "unread_mib",
        }
    }
}

/// The counters of a door; those that take its place count on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Meter {
    accepted: Counter,
    open: Gauge,
    startups: Gauge,
    headless: Counter,
    unaccepted: Counter,
    limits: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Default for Meter {
    fn default() -> Self {
        let meter = Self {
            accepted: Counter::default(),
            open: Gauge::default(),
            startups: Gauge::default(),
            headless: Counter::default(),
            unaccepted: Counter::default(),
            limits: Family::default(),
        };
        Limit::ALL.iter().for_each(|limit| drop(meter.limits.get_or_create(&[("limit", limit.word())])));
        meter
    }
}

/// Somebody is there, until this is dropped.
pub(super) struct Counted(Gauge);

impl Counted {
    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Meter {
    /// Somebody came in.
    pub(super) fn enters(&self) -> Counted {
        self.accepted.inc();
        Counted::of(&self.open)
    }

    /// And is not logged in yet.
    pub(super) fn starts(&self) -> Counted {
        Counted::of(&self.startups)
    }

    /// The kernel did not hand a connection over.
    pub(super) fn unaccepted(&self) {
        self.unaccepted.inc();
    }

    /// A balancer did not say, as it has to, whose a connection is.
    pub(super) fn headless(&self) {
        self.headless.inc();
    }

    /// Somebody met a bound or a clock.
    pub(super) fn met(&self, limit: Limit) {
        self.limits.get_or_create(&[("limit", limit.word())]).inc();
    }

    /// Names them for who collects them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "pullgate_ssh_connections_accepted",
            "SSH connections that got a place",
            self.accepted.clone(),
        );
        registry.register("pullgate_ssh_connections_open", "SSH connections that are open", self.open.clone());
        registry.register(
            "pullgate_ssh_startups",
            "SSH connections that are open and not logged in",
            self.startups.clone(),
        );
        registry.register(
            "pullgate_ssh_accept_errors",
            "How often the kernel did not hand an SSH connection over, as when there is no descriptor left for it",
            self.unaccepted.clone(),
        );
        registry.register(
            "pullgate_ssh_headless",
            "Connections from proxy_protocol_from that were dropped: they did not begin with the header of a PROXY protocol",
            self.headless.clone(),
        );
        registry.register(
            "pullgate_ssh_limit_hits",
            "How often a bound or a clock of [limits] turned a connection, a command, a channel or a key away, or had an exchange of keys wait, by its name there",
            self.limits.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_left_is_not_counted_any_more() {
        let meter = Meter::default();
        let (first, second) = (meter.enters(), meter.enters());
        let starting = meter.clone().starts();
        assert_eq!((meter.open.get(), meter.startups.get(), meter.accepted.get()), (2, 1, 2));
        drop((first, starting));
        assert_eq!((meter.open.get(), meter.startups.get(), meter.accepted.get()), (1, 0, 2));
        drop(second);
        assert_eq!(meter.open.get(), 0);
    }

    /// An operator finds the bound in the config file by the label.
    #[test]
    fn every_limit_has_the_name_that_the_example_has() {
        let example = include_str!("../../../config.example.toml");
        for limit in Limit::ALL {
            assert!(example.contains(&format!("\n{} = ", limit.word())), "{limit:?}");
        }
    }
}
