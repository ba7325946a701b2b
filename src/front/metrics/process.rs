//! The process, by the names that every Prometheus client gives these: read from `/proc` when somebody asks.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// This process.
#[derive(Debug)]
pub(super) struct Process;

/// What `/proc/self/stat` says, as proc_pid_stat(5) numbers it.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// Ticks of this process in user and system mode.
    own: u64,
    /// The same of children that ended and were waited for, and of theirs.
    children: u64,
    threads: u64,
    /// Ticks from the start of the machine to that of the process.
    start: u64,
    /// Bytes.
    size: u64,
    /// Pages.
    resident: u64,
}

impl Stat {
    fn read(text: &str) -> Option<Self> {
        // The second field is the program's name in brackets, which may hold anything.
        let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            own: field(14)? + field(15)?,
            children: field(16)? + field(17)?,
            threads: field(20)?,
            start: field(22)?,
            size: field(23)?,
            resident: field(24)?,
        })
    }
}

/// Since when the machine runs, in seconds since 1970.
fn boot_time() -> Option<u64> {
    fs::read_to_string("/proc/stat").ok()?.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()
}

/// In seconds.
fn ticks(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a float is what is told, and 2^53 ticks are a million years")]
    let seconds = count as f64 / clock_ticks_per_second().max(1) as f64;
    seconds
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // What cannot be read is left out.
        if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::read) {
            let mut counter = |name: &str, help: &str, value: f64| {
                let counter = ConstCounter::new(value);
                counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
            };
            counter("process_cpu_seconds", "Processor time of this process", ticks(stat.own))?;
            counter(
                "pullgate_children_cpu_seconds",
                "Processor time of its children and theirs, counted when a child of its own ends, which serves many fetches",
                ticks(stat.children),
            )?;
            let mut gauge = |name: &str, help: &str, value: u64| {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
            };
            let resident = stat.resident.saturating_mul(u64::try_from(page_size()).unwrap_or(4096));
            gauge("process_resident_memory_bytes", "Memory that this process has in use", resident)?;
            gauge("process_virtual_memory_bytes", "Addresses that this process has in use", stat.size)?;
            gauge("process_threads", "Threads of this process", stat.threads)?;
            if let Some(boot) = boot_time() {
                let start = ConstGauge::new(u64_to_f64(boot) + ticks(stat.start));
                let (name, help) = ("process_start_time_seconds", "When this process started, in seconds since 1970");
                start.encode(encoder.encode_descriptor(name, help, None, start.metric_type())?)?;
            }
        }
        let mut gauge = |name: &str, help: &str, value: u64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // Without the one that it is counted through.
            let count = u64::try_from(open.count()).unwrap_or(u64::MAX).saturating_sub(1);
            gauge("process_open_fds", "Descriptors that this process has open", count)?;
        }
        // None: there is no bound.
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        gauge("process_max_fds", "Descriptors that this process may have open", most)
    }
}

fn u64_to_f64(seconds: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
    let seconds = seconds as f64;
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let text =
            "7 (a ) b) S 1 7 7 0 -1 4194560 900 0 0 0 100 20 300 40 20 0 9 0 5000 123456 77 18446744073709551615 1\n";
        let stat = Stat { own: 120, children: 340, threads: 9, start: 5000, size: 123_456, resident: 77 };
        assert_eq!(Stat::read(text), Some(stat));
        for broken in ["", "7 (a", "7 (a) S 1 2 3", "7 (a) S x x x x x x x x x x x x x x x x x x x x x"] {
            assert_eq!(Stat::read(broken), None, "{broken}");
        }
    }

    #[test]
    fn this_process_has_numbers_that_can_be() {
        let mut numbers = prometheus_client::registry::Registry::default();
        numbers.register_collector(Box::new(Process));
        let text = super::super::page::of(&numbers).unwrap();
        let value = |name: &str| -> f64 {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")))
                .unwrap_or_else(|| panic!("{name}\n{text}"));
            line.split(' ').nth(1).unwrap().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6 && value("process_threads") >= 1.0, "{text}");
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") <= value("process_max_fds"), "{text}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - value("process_start_time_seconds")) < 3600.0, "{text}");
        assert!(value("process_cpu_seconds_total") >= 0.0 && value("pullgate_children_cpu_seconds_total") >= 0.0);
    }
}
