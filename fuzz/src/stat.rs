//! `/proc/PID/stat`: whatever a process calls itself, its line tells the truth about it.

use jobguard::identity::stat::Stat;

use super::draw::Draw;

/// The input is a line, and also what a process calls itself.
pub fn check(input: &[u8]) {
    let found = Stat::parse(input);
    if let Some(stat) = found {
        assert_eq!(Some(stat), slowly(input), "{input:?}");
    }
    let mut draw = Draw::from(input);
    let expected = any_stat(&mut draw);
    let line = as_the_kernel(input, &expected, &mut draw);
    assert_eq!(Stat::parse(&line), Some(expected), "{:?}", String::from_utf8_lossy(&line));
    half_a_line_is_none(&line, &expected, draw.below(line.len()));
}

fn any_stat(draw: &mut Draw) -> Stat {
    let low = |number: u64| u32::try_from(number & 0xffff_ffff).unwrap();
    Stat {
        state: b"RSDZTtXxKWPI"[draw.below(12)],
        parent: low(draw.magnitude()).cast_signed(),
        group: low(draw.magnitude()).cast_signed(),
        terminal: low(draw.magnitude()),
        threads: draw.magnitude(),
        start_ticks: draw.magnitude(),
    }
}

/// A line as fs/proc/array.c prints it, with `comm` as it is: the kernel escapes newlines and
/// backslashes, which makes it easier.
fn as_the_kernel(comm: &[u8], stat: &Stat, draw: &mut Draw) -> Vec<u8> {
    let Stat { state, parent, group, terminal, threads, start_ticks } = stat;
    let pid = draw.magnitude() >> 33;
    let mut line = format!("{pid} (").into_bytes();
    line.extend(comm);
    // Field 7 is printed as a signed number.
    let terminal = terminal.cast_signed();
    let (state, session) = (char::from(*state), draw.magnitude() >> 33);
    line.extend(format!(") {state} {parent} {group} {session} {terminal} -1").into_bytes());
    for _ in 9..=19 {
        line.extend(format!(" {}", draw.magnitude()).into_bytes());
    }
    line.extend(format!(" {threads} 0 {start_ticks}").into_bytes());
    for _ in 23..=52 {
        line.extend(format!(" {}", draw.magnitude()).into_bytes());
    }
    line.push(b'\n');
    line
}

/// A line that was cut off gives nothing, or all: never another start time.
fn half_a_line_is_none(line: &[u8], expected: &Stat, cut: usize) {
    if let Some(stat) = Stat::parse(&line[..cut]) {
        // Unless the cut lies in a name that looks like a line itself.
        let in_name = line[..cut].iter().rposition(|byte| *byte == b')')
            < line.iter().rposition(|byte| *byte == b')');
        assert!(in_name || stat == *expected, "{stat:?} of {:?}", &line[..cut]);
    }
}

/// The parser once more, another way: from the right.
fn slowly(line: &[u8]) -> Option<Stat> {
    let after_name = line.rsplit(|byte| *byte == b')').next()?;
    let words: Vec<_> = std::str::from_utf8(after_name).ok()?.split_ascii_whitespace().collect();
    let field = |number: usize| words.get(number - 3)?.parse::<i128>().ok();
    Some(Stat {
        state: words.first()?.bytes().next()?,
        parent: field(4)?.try_into().ok()?,
        group: field(5)?.try_into().ok()?,
        terminal: i32::try_from(field(7)?).ok()?.cast_unsigned(),
        threads: field(20)?.try_into().ok()?,
        start_ticks: field(22)?.try_into().ok()?,
    })
}
