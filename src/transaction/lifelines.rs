//! Acts on lifelines: ours, and those of others.

use super::{MAX_READS, Transaction};
use crate::error::Error;
use crate::identity::lifeline::{Feel, Lifeline};
use crate::machine::store::MachineDir;
use crate::protocol::{Answer, Felt};

impl Transaction<'_> {
    pub(super) fn make_lifeline(
        &mut self,
        token: u64,
        make: fn(&MachineDir, u64) -> Result<Option<Lifeline>, Error>,
    ) -> Result<Answer, Error> {
        self.state.makes += 1;
        if self.state.makes > MAX_READS {
            return Err(Error::State(format!(
                "every lifeline that we could make in '{}' is there already: somebody plants them",
                crate::report::escape::escape_path(self.dir.path())
            )));
        }
        let Some(lifeline) = make(self.dir, token)? else { return Ok(Answer::Taken) };
        let lifeline = self.lifeline.insert(lifeline);
        self.state.made = Some(token);
        let id = lifeline.id().map_err(Error::io("look at our lifeline"))?;
        Ok(Answer::Made(id.to_string()))
    }

    pub(super) fn feel_others(&mut self) -> Result<Answer, Error> {
        let mut felt = Felt::default();
        let listing = self.dir.lifelines()?;
        self.state.scratch = listing.scratch;
        for token in listing.tokens {
            if self.state.made == Some(token) {
                continue;
            }
            match self.dir.feel(token, None) {
                Feel::Taut(_) | Feel::Unknown(_) => felt.taut.push(token),
                Feel::Slack => felt.slack.push(token),
                Feel::Missing => {}
            }
        }
        Ok(Answer::Felt(felt))
    }

    pub(super) fn sweep(&mut self, tokens: &[u64]) {
        tokens.iter().for_each(|token| self.dir.unlink_lifeline(*token));
        // A claim that holds another lock file may be at work on its own: it notices, and starts
        // over.
        self.state.scratch.drain(..).for_each(|name| self.dir.unlink(&name));
    }

    pub(super) fn drop_lifeline(&mut self) {
        if let Some(token) = self.state.made.take() {
            self.dir.unlink_lifeline(token);
        }
        self.lifeline = None;
    }
}
