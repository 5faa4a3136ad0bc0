//! Open files: how many the process may have, and how many of them clients' connections may be.
//!
//! A connection is an open file to the kernel, and so is everything that a gateway needs beside it: connections to services,
//! to Redis and to resolvers, files that are read again, the admin port's probes. One that gave all of them to its clients
//! could neither serve those nor say that it lives.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::limits::Limits;

/// Kept from clients, at most.
const RESERVE: u64 = 1024;
/// Connections of the admin port, at most; fewer where a quarter of what is kept is less.
const ADMIN: usize = 256;

/// How many files the process may have open.
#[derive(Debug, Clone, Copy)]
pub struct OpenFiles(u64);

impl OpenFiles {
    /// Takes what the process may: the soft limit, which service managers set low for the sake of programs that use
    /// select(2), becomes the hard one.
    pub fn raise() -> Self {
        let limit = getrlimit(Resource::Nofile);
        if limit.current == limit.maximum {
            return Self(limit.current.unwrap_or(u64::MAX));
        }
        // Some kernels refuse what they themselves have named as the most.
        let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
        let now = if raised.is_ok() { limit.maximum } else { limit.current };
        Self(now.unwrap_or(u64::MAX))
    }

    /// A quarter of them, or enough.
    fn reserve(self) -> u64 {
        (self.0 / 4).min(RESERVE)
    }

    /// The limits of the public port, which leave the reserve untouched; a note where that is less than was asked for.
    pub fn bound(self, limits: Limits) -> (Limits, Option<String>) {
        let most = usize::try_from(self.0 - self.reserve()).unwrap_or(usize::MAX);
        if limits.connections <= most {
            return (limits, None);
        }
        let note = format!(
            "clients.connections: {} are more than the {} open files that this process may have leave: {most} are taken; raise \
             RLIMIT_NOFILE (systemd: LimitNOFILE=, shells: ulimit -n)",
            limits.connections, self.0,
        );
        (Limits { connections: most, ..limits }, Some(note))
    }

    /// The limits of the admin port, which lives on the reserve.
    pub(super) fn admin(self) -> Limits {
        let share = usize::try_from(self.reserve() / 4).unwrap_or(ADMIN);
        Limits { connections: share.clamp(1, ADMIN), ..Limits::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, OpenFiles};

    #[test]
    fn clients_never_get_all_files() {
        let of = |files, connections| {
            let (limits, note) = OpenFiles(files).bound(Limits { connections, ..Limits::default() });
            (limits.connections, OpenFiles(files).admin().connections, note.is_some())
        };
        assert_eq!(of(64, 16_384), (48, 4, true));
        assert_eq!(of(1024, 16_384), (768, 64, true));
        assert_eq!(of(1024, 768), (768, 64, false));
        assert_eq!(of(20_000, 16_384), (16_384, 256, false));
        assert_eq!(of(u64::MAX, 16_384), (16_384, 256, false));
    }
}
