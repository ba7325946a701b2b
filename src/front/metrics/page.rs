//! The numbers as text.
//!
//! The library writes OpenMetrics. The older text format of Prometheus is read by everything that reads either, so that is
//! what is told: the name that stands before a counter has its `_total` there too, and there are no lines for units and the end.

use std::fmt;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// All numbers as they are now.
pub(super) fn of(numbers: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    text::encode(&mut text, numbers)?;
    Ok(plain(&text))
}

fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(_), _) => help = Some(line),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
                let words = help.take().and_then(|help| help.splitn(4, ' ').nth(3)).unwrap_or_default();
                // The library puts a full stop behind some.
                let words = words.trim_end_matches('.');
                plain.push_str(&format!("# HELP {name} {words}\n# TYPE {name} {kind}\n"));
            }
            (Some("#"), _, _, _) => {}
            _ => plain.extend([line, "\n"]),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::registry::Unit;

    use super::*;

    #[test]
    fn counters_are_called_what_they_are_called() {
        let mut numbers = Registry::default();
        let counts: Family<[(&str, &str); 1], Counter> = Family::default();
        counts.get_or_create(&[("kind", "a b\n\"c\"")]).inc_by(3);
        numbers.register("x_things", "Things, in all", counts);
        numbers.register_with_unit("x_size", "How much", Unit::Bytes, Gauge::<i64>::default());
        assert_eq!(
            of(&numbers).unwrap(),
            "# HELP x_things_total Things, in all\n# TYPE x_things_total counter\n\
             x_things_total{kind=\"a b\\n\\\"c\\\"\"} 3\n\
             # HELP x_size_bytes How much\n# TYPE x_size_bytes gauge\nx_size_bytes 0\n"
        );
    }
}
