//! Several programs measured in turns, so that what disturbs the machine disturbs all of them.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::figures::median;

/// How long one program runs before the next has its turn.
const TURN: Duration = Duration::from_micros(1_500);

/// Programs that are measured together.
pub(crate) struct Contest<'a> {
    programs: Vec<Program<'a>>,
}

struct Program<'a> {
    name: String,
    run: Box<dyn Fn() + Sync + 'a>,
    /// How often it runs in a turn.
    times: u32,
    /// Nanoseconds for one run, by turn.
    turns: Vec<f64>,
}

impl<'a> Contest<'a> {
    pub(crate) fn new() -> Self {
        Self { programs: Vec::new() }
    }

    pub(crate) fn add(&mut self, name: &str, run: impl Fn() + Sync + 'a) {
        let name = name.to_owned();
        self.programs.push(Program { name, run: Box::new(run), times: 1, turns: Vec::new() });
    }

    /// Gives each program this many turns.
    pub(crate) fn measure(&mut self, turns: usize) {
        for program in &mut self.programs {
            program.warm_up();
        }
        for _ in 0..turns {
            for program in &mut self.programs {
                let took = program.turn();
                program.turns.push(took);
            }
        }
    }

    /// The programs, in the order in which they were added.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.programs.iter().map(|program| program.name.as_str())
    }

    /// The median of a program, in nanoseconds for one run.
    pub(crate) fn nanoseconds(&self, name: &str) -> f64 {
        median(&self.program(name).turns)
    }

    /// How many times as long `name` takes as `base`: the median of the turns next to each other.
    pub(crate) fn ratio(&self, name: &str, base: &str) -> f64 {
        let pairs = self.program(name).turns.iter().zip(&self.program(base).turns);
        median(&pairs.map(|(a, b)| a / b).collect::<Vec<_>>())
    }

    /// How much faster two threads are than one: 2 where they do not disturb each other. The
    /// programs take turns here, too.
    pub(crate) fn scaling<const N: usize>(&self, names: [&str; N], turns: usize) -> [f64; N] {
        let mut gains = names.map(|_| Vec::new());
        for _ in 0..turns {
            for (name, gains) in names.iter().zip(&mut gains) {
                let program = self.program(name);
                gains.push(program.rate(2) / program.rate(1));
            }
        }
        gains.map(|gains| median(&gains))
    }

    fn program(&self, name: &str) -> &Program<'a> {
        let found = self.programs.iter().find(|program| program.name == name);
        found.unwrap_or_else(|| panic!("no program is called `{name}`"))
    }
}

impl Program<'_> {
    /// Finds out how often it runs in a turn.
    fn warm_up(&mut self) {
        let started = Instant::now();
        let mut runs = 0_u32;
        while started.elapsed() < TURN * 20 {
            (self.run)();
            runs += 1;
        }
        self.times = (runs / 20).max(1);
    }

    fn turn(&self) -> f64 {
        let started = Instant::now();
        for _ in 0..self.times {
            (self.run)();
        }
        started.elapsed().as_nanos() as f64 / f64::from(self.times)
    }

    /// Runs in a second on this many threads at once.
    fn rate(&self, threads: usize) -> f64 {
        let start = Barrier::new(threads + 1);
        let is_over = AtomicBool::new(false);
        let work = || {
            start.wait();
            let started = Instant::now();
            let mut runs = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                (self.run)();
                runs += 1;
            }
            runs as f64 / started.elapsed().as_secs_f64()
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            start.wait();
            let started = Instant::now();
            while started.elapsed() < TURN * 20 {
                std::thread::park_timeout(TURN);
            }
            is_over.store(true, Ordering::Relaxed);
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        })
    }
}
