//! The table: rows that measure, columns of wrappers, and its page in `docs`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::rows::ROWS;
use crate::wrapper::{COLUMNS, Wrapper};

/// A behaviour.
pub struct Row {
    /// What it is called.
    pub name: &'static str,
    /// How it is measured.
    pub how: &'static str,
    /// Measures it.
    pub measure: fn(Wrapper) -> String,
}

/// The cell where a behaviour makes no sense.
pub const NONE: &str = "–";

/// What cannot be told on this machine.
pub const UNSEEN: &str = "not to be seen here";

type Cells = BTreeMap<(&'static str, Wrapper), Arc<OnceLock<String>>>;

/// What a wrapper does, as just observed; every cell is measured once.
pub fn observed(row: &str, wrapper: Wrapper) -> String {
    static CELLS: Mutex<Cells> = Mutex::new(BTreeMap::new());
    let cell = {
        let mut cells = CELLS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cells.entry((find(row).name, wrapper)).or_default())
    };
    cell.get_or_init(|| measured(row, wrapper)).clone()
}

/// Measures it, whether or not that was done before. A peer that fails in a way that nobody thought
/// of is a cell, too.
pub fn measured(row: &str, wrapper: Wrapper) -> String {
    let measure = find(row).measure;
    if !wrapper.is_peer() {
        return measure(wrapper);
    }
    let measured = catch_unwind(AssertUnwindSafe(|| measure(wrapper)));
    measured.unwrap_or_else(|_| "could not be measured".to_owned())
}

fn find(name: &str) -> &'static Row {
    let row = ROWS.iter().find(|row| row.name == name);
    row.unwrap_or_else(|| panic!("no row is called {name:?}"))
}

/// The words of the table, without the page around it: the line of the columns, and one for each row.
pub struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    /// Observes everything.
    pub fn observe() -> Self {
        // Most of the time somebody waits, so three cells of each column are observed at a time.
        std::thread::scope(|scope| {
            for (wrapper, first) in
                COLUMNS.into_iter().flat_map(|one| [(one, 0), (one, 1), (one, 2)])
            {
                let rows = ROWS.iter().skip(first).step_by(3);
                scope.spawn(move || rows.for_each(|row| drop(observed(row.name, wrapper))));
            }
        });
        let title = |wrapper: &Wrapper| match wrapper.version() {
            Some(version) => format!("{} {version}", wrapper.name()),
            None => wrapper.name().to_owned(),
        };
        let head =
            std::iter::once("behaviour".to_owned()).chain(COLUMNS.iter().map(title)).collect();
        let body = ROWS.iter().enumerate().map(|(number, row)| {
            let cells = COLUMNS.iter().map(|wrapper| observed(row.name, *wrapper));
            std::iter::once(format!("{}. {}", number + 1, row.name)).chain(cells).collect()
        });
        Self { lines: std::iter::once(head).chain(body).collect() }
    }

    /// What a page says.
    pub fn of_page(page: &str) -> Self {
        let cells = |line: &str| {
            let line = line.trim_start_matches("| ").trim_end_matches(" |");
            line.split(" | ").map(|cell| cell.trim().to_owned()).collect()
        };
        let lines = page.lines().filter(|line| line.starts_with("| ") && !line.contains("---"));
        Self { lines: lines.map(cells).collect() }
    }

    /// Takes the columns of the peers from another one, and what cannot be seen here, and says what was
    /// different there.
    pub fn with_committed(mut self, other: &Self) -> (Self, Vec<String>) {
        let mut changed = Vec::new();
        for line in &mut self.lines {
            let [behaviour, cells @ ..] = line.as_mut_slice() else { continue };
            let same =
                |other: &&Vec<String>| other[0] == *behaviour && other.len() == cells.len() + 1;
            let Some(theirs) = other.lines.iter().find(same) else { continue };
            for ((wrapper, mine), theirs) in COLUMNS.iter().zip(cells).zip(&theirs[1..]) {
                if (wrapper.is_peer() || mine == UNSEEN) && mine != theirs {
                    let peer = wrapper.name();
                    changed.push(format!("{behaviour}: {peer}: now {mine:?}, was {theirs:?}"));
                    mine.clone_from(theirs);
                }
            }
        }
        (self, changed)
    }

    /// The page.
    pub fn page(&self) -> String {
        let mut page = include_str!("head.md").to_owned();
        for (number, line) in self.lines.iter().enumerate() {
            writeln!(page, "| {} |", line.join(" | ")).unwrap();
            if number == 0 {
                writeln!(page, "|{}", " --- |".repeat(line.len())).unwrap();
            }
        }
        page.push_str("\n## How each was measured\n\n");
        for (number, row) in ROWS.iter().enumerate() {
            writeln!(page, "{}. {}", number + 1, row.how).unwrap();
        }
        page
    }
}
