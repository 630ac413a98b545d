//! What a run used, for people.

use serde_json::Number;

use crate::machine::used::Used;

/// The line; `None` where nothing is known.
pub fn used(used: &Used) -> Option<String> {
    let facts = [
        used.cpu_seconds.as_ref().map(|cpu| format!("{} CPU", seconds(cpu))),
        used.wall_seconds.as_ref().map(|wall| format!("{} in all", seconds(wall))),
        used.max_rss_kib.map(|most| format!("{} of memory", size(most))),
        used.disk_read_kib.map(|read| format!("{} read from disk", size(read))),
        used.disk_written_kib.map(|written| format!("{} written", size(written))),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    (!facts.is_empty()).then(|| facts.join(", "))
}

fn seconds(number: &Number) -> String {
    format!("{:.2} s", number.as_f64().unwrap_or(f64::NAN))
}

fn size(kib: u64) -> String {
    const UNITS: [&str; 5] = ["MiB", "GiB", "TiB", "PiB", "EiB"];
    if kib < 1024 {
        return format!("{kib} KiB");
    }
    let step = (u64::BITS - kib.leading_zeros() - 1) / 10;
    let unit = UNITS.get(step as usize - 1).unwrap_or(&"ZiB");
    format!("{:.1} {unit}", kib as f64 / f64::from(1 << 10).powi(step.cast_signed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_units() {
        let used_all = Used {
            wall_seconds: Number::from_f64(3600.0),
            cpu_seconds: Number::from_f64(0.4159),
            max_rss_kib: Some(1023),
            disk_read_kib: Some(1024),
            disk_written_kib: Some(5 << 20),
        };
        assert_eq!(
            used(&used_all).unwrap(),
            "0.42 s CPU, 3600.00 s in all, 1023 KiB of memory, 1.0 MiB read from disk, 5.0 GiB written"
        );
        assert_eq!(used(&Used::default()), None);
        for kib in [0, 1, u64::MAX] {
            size(kib);
        }
    }
}
