//! One whole request, understood, when and for whom it is dealt with, and the verdict on it.

use super::in_flight::Ticket;
use crate::command::{Command, Name};
use crate::resp::Arg;
use crate::timer::Millis;

/// One whole request, understood.
pub(super) struct Call<'a> {
    /// The first word's name; the same as the command's, unless that is a subcommand.
    pub container: &'static str,
    /// The row of the table.
    pub command: &'static Command,
    /// Its bytes.
    pub request: &'a [u8],
    /// Its arguments, the name first.
    pub args: &'a [Arg],
}

impl<'a> Call<'a> {
    /// The argument with this index.
    pub fn arg(&self, index: usize) -> &'a [u8] {
        self.args[index].of(self.request)
    }

    /// The arguments from `from` on and before `to`, as they stand in the request, lengths and line ends included.
    /// `from <= to`.
    pub fn raw(&self, from: usize, to: usize) -> &'a [u8] {
        let start = match from {
            // Behind the count.
            0 => 3 + self.args.len().ilog10() as usize + 1,
            _ => self.args[from - 1].end(),
        };
        let end = if to == from { start } else { self.args[to - 1].end() };
        &self.request[start..end]
    }

    /// True if it has the right length, but no key that can be told: it needs none (`EVAL … 0`), or a server will say
    /// what is wrong with it.
    pub fn is_without_keys(&self) -> bool {
        let argc = self.args.len();
        let span = self.command.key_span(argc, |index| self.arg(index));
        self.command.arity_allows(argc) && span.map_or(true, |span| span.lead().is_none())
    }

    /// Its length in bytes.
    pub fn len(&self) -> u32 {
        self.request.len() as u32
    }

    /// The full name, as errors show it.
    pub fn name(&self) -> Name {
        Name::new(self.container, self.command.name())
    }
}

/// What is to be done with the bytes of a request.
pub(super) enum Verdict {
    /// Nothing: it is answered, or ignored.
    Done,
    /// Keep them, and whatever is behind them; the client's turn will come.
    Wait,
    /// They are to be forwarded: the request stands in a backend's in-flight queue already.
    Forward(Ticket),
}

/// When a request is dealt with, and where its client stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct When {
    pub now: Millis,
    pub standing: Standing,
    /// How long the request has waited for a connection, in milliseconds.
    pub waited_ms: u32,
}

/// Where a client stands among those who wait for a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does not wait: those who do go first.
    Arriving,
    /// It has waited, and is served now: nobody who waits goes before it.
    Front,
    /// It has waited as long as it may, and is served only to be told so, if there is still nothing for it.
    WaitOver,
}

impl When {
    /// Of a client that has not waited.
    #[inline]
    pub fn at(now: Millis) -> When {
        When { now, standing: Standing::Arriving, waited_ms: 0 }
    }

    /// Whether the client has waited, and is served now.
    #[inline]
    pub fn is_served(self) -> bool {
        self.standing != Standing::Arriving
    }

    /// The same for the request behind the one that had waited: that one has not.
    #[inline]
    pub fn behind(self) -> When {
        match self.standing {
            Standing::WaitOver => When { standing: Standing::Front, waited_ms: 0, ..self },
            _ => When { waited_ms: 0, ..self },
        }
    }
}
