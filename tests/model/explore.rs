//! The explorer: breadth first, through every world that can come about.
#![allow(clippy::disallowed_types, reason = "it is the fastest, and this is test code")]

use std::collections::HashMap;

use crate::digest::{Digest, digest};
use crate::mutant::Broken;
use crate::world::World;

/// What was found.
pub struct Explored {
    pub worlds: usize,
    pub steps: usize,
    /// Worlds in which nothing more can happen by itself.
    pub ends: Vec<World>,
    /// The first broken promise, and the worlds that lead there.
    pub violation: Option<String>,
    /// How to get to a world from which nothing but faults leads to an end.
    pub stuck: Option<String>,
}

/// Explores every world that comes after these.
pub fn explore(roots: &[World], broken: Broken) -> Explored {
    let mut atlas = Atlas::new();
    let mut found =
        Explored { worlds: 0, steps: 0, ends: Vec::new(), violation: None, stuck: None };
    let mut frontier = Vec::new();
    for root in roots {
        let own = atlas.keys.len();
        if let (number, true) = atlas.enter(root, own, false) {
            frontier.push((number, root.clone()));
        }
    }
    let mut ended = Vec::new();
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for (number, world) in frontier {
            let progress = world.progress(broken);
            if progress.is_empty() {
                ended.push(number);
            }
            let is_end = progress.is_empty();
            let by_itself = progress.into_iter().map(|step| (true, step));
            let by_fault = world.go_wrong(broken).into_iter().map(|world| (false, Ok(world)));
            for (by_itself, step) in by_itself.chain(by_fault) {
                found.steps += 1;
                let after = match step {
                    Ok(after) => after,
                    Err(why) => {
                        let way = atlas.way(roots, number, broken);
                        found.violation = Some(format!("{why}, by this way:\n{way}"));
                        return found;
                    }
                };
                let (reached, is_new) = atlas.enter(&after, number, by_itself);
                if is_new {
                    next.push((reached, after));
                }
            }
            if is_end {
                found.ends.push(world);
            }
        }
        frontier = next;
    }
    found.worlds = atlas.keys.len();
    let unfinished = |end: &&World| !end.processes.iter().all(|process| process.is_at_rest());
    let stuck_end = found.ends.iter().find(unfinished).map(|end| atlas.number(end));
    found.stuck =
        stuck_end.or(atlas.cut_off(&ended)).map(|number| atlas.way(roots, number, broken));
    found
}

/// All worlds that are known, and the ways between them.
struct Atlas {
    numbers: HashMap<Digest, usize>,
    keys: Vec<Digest>,
    /// From where each world was first reached; a root, from itself.
    parents: Vec<usize>,
    /// From where each is reached without a fault.
    before: Vec<Vec<u32>>,
}

impl Atlas {
    fn new() -> Self {
        let (numbers, keys, parents, before) = (HashMap::new(), Vec::new(), Vec::new(), Vec::new());
        Self { numbers, keys, parents, before }
    }

    fn number(&self, world: &World) -> usize {
        self.numbers[&digest(world)]
    }

    /// Enters a world that was reached from another; says its number, and whether it is new.
    fn enter(&mut self, world: &World, from: usize, by_itself: bool) -> (usize, bool) {
        let key = digest(world);
        let fresh = self.keys.len();
        let number = *self.numbers.entry(key).or_insert(fresh);
        if number == fresh {
            self.keys.push(key);
            self.parents.push(from);
            self.before.push(Vec::new());
        }
        if by_itself {
            self.before[number].push(u32::try_from(from).unwrap());
        }
        (number, number == fresh)
    }

    /// A world from which no end is reached without faults, found by walking back from all ends.
    fn cut_off(&self, ended: &[usize]) -> Option<usize> {
        let mut reaches = vec![false; self.keys.len()];
        let mut todo = ended.to_vec();
        while let Some(number) = todo.pop() {
            if !std::mem::replace(&mut reaches[number], true) {
                todo.extend(self.before[number].iter().map(|before| *before as usize));
            }
        }
        reaches.iter().position(|reaches| !reaches)
    }

    /// The way to a world, told step by step.
    fn way(&self, roots: &[World], to: usize, broken: Broken) -> String {
        let mut numbers = vec![to];
        let is_root = |number: usize| self.parents[number] == number;
        while let Some(number) = numbers.last().copied().filter(|number| !is_root(*number)) {
            numbers.push(self.parents[number]);
        }
        let mut told = String::new();
        let from = numbers.last().map(|root| self.keys[*root]);
        let root = roots.iter().find(|root| Some(digest(root)) == from);
        let mut world = root.expect("a way begins at a root").clone();
        for number in numbers.into_iter().rev().skip(1) {
            let steps = world.progress(broken).into_iter().flatten().chain(world.go_wrong(broken));
            let next = steps.into_iter().find(|next| digest(next) == self.keys[number]);
            let next = next.expect("a way leads from world to world");
            told.push_str(&world.difference(&next));
            world = next;
        }
        told
    }
}
