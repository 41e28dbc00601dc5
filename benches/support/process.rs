//! This program a second time, in a part of its own, so that neither its memory nor its work counts.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// A second process that is spoken to in lines. Dropping it ends it.
pub(crate) struct Child {
    process: std::process::Child,
    input: Option<std::process::ChildStdin>,
    output: BufReader<std::process::ChildStdout>,
}

impl Child {
    /// Starts this program with other arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output }
    }

    /// Sends lines.
    pub(crate) fn send(&mut self, text: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).unwrap();
    }

    /// Ends its input.
    pub(crate) fn close(&mut self) {
        self.input = None;
    }

    /// Waits for lines, up to an empty one or the end.
    pub(crate) fn paragraph(&mut self) -> String {
        let mut text = String::new();
        loop {
            let before = text.len();
            let bytes = self.output.read_line(&mut text).unwrap();
            if bytes == 0 || text.get(before..).is_some_and(|line| line.trim().is_empty()) {
                return text.trim_end().to_owned();
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The end of its input is the end of its work.
        self.close();
        let _ = self.process.wait();
    }
}
