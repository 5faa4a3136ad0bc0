//! `transom` as a process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::thread;

use serde_json::Value;

use super::PATIENCE;
use super::client::{Call, Reply};

/// A command that runs until it is told to end.
pub(crate) struct Process {
    child: Option<Child>,
    /// Its stderr, which is read no faster than this is.
    log: Receiver<String>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
}

impl Process {
    /// Runs it with these variables alone and waits until it listens.
    pub(crate) fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_transom")).args(arguments), variables)
    }

    /// The same where it may have so many files open: at first, and at most.
    pub(crate) fn start_with_files((soft, hard): (u32, u32), arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
        let mut shell = Command::new("/bin/sh");
        Self::run(shell.args(["-c", &script, env!("CARGO_BIN_EXE_transom")]).args(arguments), variables)
    }

    fn run(command: &mut Command, variables: &[(&str, &str)]) -> Self {
        let mut child = command
            .env_clear()
            .envs(variables.iter().copied())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command runs");
        let (lines, log) = sync_channel(0);
        let stderr = BufReader::new(child.stderr.take().expect("its stderr"));
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let (address, admin) = loop {
            let Ok(line) = log.recv_timeout(PATIENCE) else { panic!("it does not listen: {:?}", child.wait()) };
            let entry: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            if entry["message"] == "listening" {
                let field = |name: &str| entry[name].as_str().map(|text| text.trim_matches(['[', ']']).to_owned());
                let address = field("address").expect("an address").parse().expect("an address");
                break (address, field("admin").map(|admin| admin.parse().expect("an address")));
            }
        };
        Self { child: Some(child), log, address, admin }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        send(Call::new(self.address, "GET", path))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        send(Call::new(self.address, "POST", path).json(body))
    }

    /// Bytes of memory that it has.
    pub(crate) fn resident(&self) -> usize {
        let id = self.child.as_ref().expect("it runs").id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1024
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: &str) {
        kill(self.child.as_ref().expect("it runs"), signal);
    }

    /// Reads the log up to a line that has this in it.
    pub(crate) fn logged(&self, part: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the log does not say {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Sends a signal and waits for the end: the exit code, and the log's lines that were not read yet.
    pub(crate) fn end(mut self, signal: &str) -> (Option<i32>, Vec<String>) {
        let mut child = self.child.take().expect("it runs");
        kill(&child, signal);
        let id = child.id();
        let (done, ended) = channel();
        thread::spawn(move || done.send(child.wait()));
        let Ok(end) = ended.recv_timeout(PATIENCE) else {
            let _ = Command::new("sh").args(["-c", &format!("kill -KILL {id}")]).status();
            panic!("it does not end");
        };
        (end.expect("its end").code(), self.log.iter().collect())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ends the command, whatever becomes of the test.
pub(crate) struct Ends(pub(crate) Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a request from where no runtime is.
pub(crate) fn send(call: Call) -> Reply {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { call.await })
}

fn kill(child: &Child, signal: &str) {
    let killed = Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status();
    assert!(killed.expect("a shell").success());
}
