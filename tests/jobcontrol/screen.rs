//! Two panes of tmux(1), one with a bare job and one with a wrapped one: the same is typed into both, and
//! they must show the same.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};

use crate::shell::Guard;
use crate::support::probe::executable;
use crate::support::{PATIENCE, Running, Sandbox, require_program, run};

/// A server of tmux that goes with the test.
pub(crate) struct Screens {
    sandbox: Sandbox,
    _server: Running,
}

/// How the panes are called, and what is in them.
const PANES: [(&str, Guard); 2] = [("bare", Guard::Bare), ("wrapped", Guard::Shared)];

impl Screens {
    /// Both panes with this shell, which is started with a prompt `$ `. There `j COMMAND` is the job, and
    /// `ready COMMAND` says that it is about to run. Before that nothing may be typed for it: it would
    /// go through the shell's line editor.
    #[track_caller]
    pub(crate) fn with(shell: &str) -> Self {
        for program in ["tmux", shell.split(' ').next().unwrap()] {
            require_program(program);
        }
        let sandbox = Sandbox::new();
        let mut command = sandbox.tmux(&["-D", "-f", "/dev/null"]);
        let server = Running::new(command.spawn().unwrap());
        let screens = Self { sandbox, _server: server };
        let begin = Instant::now();
        while !screens.sandbox.path("tmux.socket").exists() {
            assert!(begin.elapsed() < PATIENCE, "tmux does not listen");
            nap();
        }
        for (name, guard) in PANES {
            let (bin, home) =
                (screens.sandbox.path(&format!("bin.{name}")), screens.sandbox.path(name));
            std::fs::create_dir(&home).unwrap();
            let words: Vec<String> = guard.words().iter().map(|word| format!("'{word}'")).collect();
            executable(&bin.join("j"), &format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")));
            executable(&bin.join("ready"), "#!/bin/sh\necho ready\nexec \"$@\"\n");
            let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
            let shell = format!(
                "cd '{}' && exec env -u ENV -u TMUX -u LD_LIBRARY_PATH PATH='{path}' HOME=. TERM=screen PS1='$ ' \
                 PYTHON_HISTORY=/dev/null {shell}",
                home.display(),
            );
            let new = ["new-session", "-d", "-s", name, "-x", "80", "-y", "24", &shell];
            run(&mut screens.sandbox.tmux(&new)).exits(0);
        }
        screens.both_show("$");
        screens
    }

    /// A file in the directory of both shells.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) {
        for (pane, _) in PANES {
            std::fs::write(self.sandbox.path(pane).join(name), text.as_ref()).unwrap();
        }
    }

    /// What a file holds by now, in both directories.
    pub(crate) fn files(&self, name: &str) -> [String; 2] {
        PANES.map(|(pane, _)| {
            std::fs::read_to_string(self.sandbox.path(pane).join(name)).unwrap_or_default()
        })
    }

    /// Types keys, by their names in tmux, into both.
    pub(crate) fn press(&self, keys: &[&str]) {
        for (pane, _) in PANES {
            let words = [&["send-keys", "-t", pane], keys].concat();
            run(&mut self.sandbox.tmux(&words)).exits(0);
        }
    }

    /// Types a line into both.
    pub(crate) fn line(&self, text: &str) {
        for (pane, _) in PANES {
            run(&mut self.sandbox.tmux(&["send-keys", "-t", pane, "-l", text])).exits(0);
        }
        self.press(&["Enter"]);
    }

    /// Clears both, for what comes not to be taken for what was there.
    #[track_caller]
    pub(crate) fn clear(&self, prompt: &str) {
        self.line("clear");
        self.settle("nothing but a prompt", |screen| screen == prompt);
    }

    /// Gives both another size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        for (pane, _) in PANES {
            let (x, y) = (columns.to_string(), rows.to_string());
            run(&mut self.sandbox.tmux(&["resize-window", "-t", pane, "-x", &x, "-y", &y]))
                .exits(0);
        }
    }

    /// Waits until the last line of both is this, and both show the same.
    #[track_caller]
    pub(crate) fn both_show(&self, last: &str) {
        self.settle(last, |screen| {
            screen.lines().last().is_some_and(|line| line.trim_end() == last)
        });
    }

    /// Waits until both show this somewhere, and both show the same.
    #[track_caller]
    pub(crate) fn both_hold(&self, text: &str) {
        self.settle(text, |screen| screen.contains(text));
    }

    /// Waits until neither shows this any more, and both show the same.
    #[track_caller]
    pub(crate) fn both_lack(&self, text: &str) {
        self.settle(text, |screen| !screen.contains(text));
    }

    #[track_caller]
    fn settle(&self, what: &str, shown: impl Fn(&str) -> bool) {
        let begin = Instant::now();
        loop {
            let [bare, wrapped] = PANES.map(|(pane, _)| self.shown(pane));
            if bare == wrapped && shown(&bare) {
                return;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "not {what:?} on both screens:\n{bare}\n--- wrapped:\n{wrapped}\n---"
            );
            nap();
        }
    }

    /// The screen of a pane, but for the spaces at the end of its lines.
    fn shown(&self, pane: &str) -> String {
        let capture = ["capture-pane", "-p", "-t", pane];
        let screen = run(&mut self.sandbox.tmux(&capture)).exits(0).stdout();
        screen
            .lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect::<String>()
            .trim_end()
            .to_owned()
    }
}

impl Sandbox {
    fn tmux(&self, words: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.path("tmux.socket")).args(words).env_remove("TMUX");
        self.confine(&mut command);
        // Its server takes the first locale that it finds for its own.
        command.env("LC_ALL", "C.UTF-8");
        command
    }
}

fn nap() {
    poll(&mut [], PollTimeout::try_from(Duration::from_millis(50)).unwrap()).unwrap();
}
