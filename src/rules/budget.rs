//! What an evaluation has used so far of operations, time and memory, and its end when it has used
//! them up.
//!
//! Rhai counts operations of one call only, knows no time, and bounds the size of one value but not
//! how many there are: `a[i] = v` and `m[k] = v` grow past every limit of size. So each thread keeps
//! a meter, which the interpreter asks at every operation. A budget stands for the evaluation of one
//! record; all calls made under it share it. Within one operation memory can at most double: the
//! largest thing that an operation makes is a copy of what the script holds.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rhai::Dynamic;
use rustix::time::{ClockId, clock_gettime};
use tikv_jemalloc_ctl::thread::{self, ThreadLocal};

use super::error::Limit;
use super::limits::Limits;

/// How many operations pass between two looks at the clock; more often costs, less often is late.
const OPERATIONS_PER_LOOK: u64 = 16;

/// From here on an operation can take long, since it may copy or compare all that is held; so the
/// clock is looked at each time.
const MUCH_BYTES: isize = 256 * 1024;

/// What a script is ended with, for the message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// Of which there is none left.
    pub(crate) limit: Limit,
    memory_bytes: isize,
}

impl Spent {
    /// What happened, in the words of a script's writer.
    pub(crate) fn message(&self) -> String {
        match self.limit {
            Limit::Operations => "the script takes too many steps".to_owned(),
            Limit::Memory => match self.memory_bytes / (1024 * 1024) {
                0 => format!("the script holds more than {} bytes", self.memory_bytes),
                mebibytes => format!("the script holds more than {mebibytes} MiB"),
            },
            _ => "the script takes too long".to_owned(),
        }
    }
}

/// What this thread has allocated and freed so far, as the allocator itself counts it: reading both
/// costs two loads.
#[derive(Clone, Copy)]
struct Memory {
    allocated: ThreadLocal<u64>,
    freed: ThreadLocal<u64>,
}

impl Memory {
    fn of_this_thread() -> Option<Self> {
        let allocated = thread::allocatedp::read().ok()?;
        let freed = thread::deallocatedp::read().ok()?;
        Some(Self { allocated, freed })
    }

    /// Less than nothing where the thread freed what others had allocated.
    fn held(self) -> isize {
        self.allocated.get().wrapping_sub(self.freed.get()).cast_signed() as isize
    }
}

/// The time that the processor gave this thread so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// What an evaluation may use.
#[derive(Clone, Copy)]
struct Allowance {
    operations: u64,
    /// When to look at the time that was really used.
    deadline: Option<Instant>,
    /// The time of the processor at which the evaluation has used what it may.
    ends: Option<Duration>,
    memory: Option<Memory>,
    /// What the thread held when the evaluation began.
    floor: isize,
    memory_bytes: isize,
}

impl Allowance {
    fn held(&self) -> isize {
        self.memory.map_or(0, |memory| memory.held().saturating_sub(self.floor))
    }
}

/// What an evaluation may use and has used.
#[derive(Clone, Copy)]
struct Reading {
    allowance: Allowance,
    used: u64,
    /// Once something is used up it stays so: some natives of Rhai swallow the error that ends a
    /// script, and would go on calling back.
    spent: Option<Limit>,
}

impl Reading {
    fn new(limits: &Limits, outer: Option<&Self>) -> Self {
        // A time that no clock reaches is none.
        let own = Instant::now().checked_add(limits.time);
        let own_end = processor_time().checked_add(limits.time);
        let outer_end = outer.and_then(|outer| outer.allowance.ends);
        let outer = outer.and_then(|outer| outer.allowance.deadline);
        let memory = MEMORY.with(|memory| *memory);
        let allowance = Allowance {
            // As in Rhai, 0 is no limit.
            operations: if limits.operations == 0 { u64::MAX } else { limits.operations },
            deadline: own.into_iter().chain(outer).min(),
            ends: own_end.into_iter().chain(outer_end).min(),
            memory,
            floor: memory.map_or(0, Memory::held),
            memory_bytes: isize::try_from(limits.memory_bytes).unwrap_or(isize::MAX),
        };
        Self { allowance, used: 0, spent: None }
    }
}

/// What a thread measures; in cells of their own, so that an operation costs a few loads.
struct Meter {
    allowance: Cell<Option<Allowance>>,
    used: Cell<u64>,
    spent: Cell<Option<Limit>>,
}

impl Meter {
    fn read(&self) -> Option<Reading> {
        let allowance = self.allowance.get()?;
        Some(Reading { allowance, used: self.used.get(), spent: self.spent.get() })
    }

    fn set(&self, reading: Option<Reading>) {
        self.allowance.set(reading.map(|reading| reading.allowance));
        self.used.set(reading.map_or(0, |reading| reading.used));
        self.spent.set(reading.and_then(|reading| reading.spent));
    }

    /// The clock says so; but a busy machine makes threads wait, which is no fault of a script. So the
    /// thread's own time decides, which costs too much to be asked each time.
    fn is_out_of_time(&self, allowance: Allowance) -> bool {
        let left =
            allowance.ends.map_or(Duration::ZERO, |end| end.saturating_sub(processor_time()));
        let deadline = Instant::now().checked_add(left);
        self.allowance.set(Some(Allowance { deadline, ..allowance }));
        left.is_zero()
    }

    /// One more operation; what is used up, if anything is.
    fn spend(&self) -> Option<Spent> {
        let allowance = self.allowance.get()?;
        let used = self.used.get() + 1;
        self.used.set(used);
        let held = allowance.held();
        let spent = if let Some(spent) = self.spent.get() {
            spent
        } else if held > allowance.memory_bytes {
            Limit::Memory
        } else if used > allowance.operations {
            Limit::Operations
        } else if (used.is_multiple_of(OPERATIONS_PER_LOOK) || held > MUCH_BYTES)
            && allowance.deadline.is_some_and(|deadline| Instant::now() >= deadline)
            && self.is_out_of_time(allowance)
        {
            Limit::Time
        } else {
            return None;
        };
        self.spent.set(Some(spent));
        Some(Spent { limit: spent, memory_bytes: allowance.memory_bytes })
    }
}

thread_local! {
    /// Where the allocator counts, which takes it longer to say than to count.
    static MEMORY: Option<Memory> = Memory::of_this_thread();

    /// The interpreter's hook is one function for all threads that share an engine, so each thread
    /// keeps its own.
    static METER: Meter = const {
        Meter { allowance: Cell::new(None), used: Cell::new(0), spent: Cell::new(None) }
    };
}

/// Counts an operation of the script on this thread; ends the script if that was one too many.
pub(crate) fn spend() -> Option<Dynamic> {
    METER.with(Meter::spend).map(Dynamic::from)
}

/// Bytes that the script on this thread holds; 0 where no evaluation stands.
pub(crate) fn held() -> isize {
    METER.with(|meter| match meter.allowance.get() {
        Some(allowance) => allowance.held(),
        None => 0,
    })
}

/// What one evaluation may use, all its calls together; stands on its thread until it is dropped.
#[must_use = "a budget stands until it is dropped"]
pub(crate) struct Budget {
    outer: Option<Reading>,
    is_shared: bool,
}

impl Budget {
    /// Starts the evaluation of a record. It never has more time left than one around it, such as a
    /// test's.
    pub(crate) fn start(limits: &Limits) -> Self {
        let outer = METER.with(Meter::read);
        METER.with(|meter| meter.set(Some(Reading::new(limits, outer.as_ref()))));
        Self { outer, is_shared: false }
    }

    /// Gives all evaluations until it is dropped this much time together.
    pub(crate) fn within(time: Duration) -> Self {
        Self::start(&Limits { time, operations: 0, memory_bytes: u64::MAX, ..Limits::default() })
    }

    /// Joins the evaluation on this thread, or starts one for a single call.
    pub(crate) fn share(limits: &Limits) -> Self {
        match METER.with(Meter::read) {
            Some(_) => Self { outer: None, is_shared: true },
            None => Self::start(limits),
        }
    }

    /// Operations used so far.
    pub(crate) fn operations(&self) -> u64 {
        METER.with(|meter| meter.used.get())
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        if self.is_shared {
            return;
        }
        let used = self.operations();
        let used = |outer: Reading| Reading { used: outer.used.saturating_add(used), ..outer };
        let outer = self.outer.map(used);
        METER.with(|meter| meter.set(outer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { operations: 10, time: Duration::from_secs(600), ..Limits::default() }
    }

    fn spent() -> Option<Limit> {
        let spent = spend()?;
        Some(spent.read_lock::<Spent>().unwrap().limit)
    }

    #[test]
    fn all_calls_of_an_evaluation_share_its_operations() {
        let limits = limits();
        let budget = Budget::start(&limits);
        for _ in 0..2 {
            let _call = Budget::share(&limits);
            for _ in 0..5 {
                assert_eq!(spent(), None);
            }
        }
        assert_eq!(budget.operations(), 10);
        let _call = Budget::share(&limits);
        assert_eq!(spent(), Some(Limit::Operations));
    }

    #[test]
    fn what_is_used_up_stays_used_up() {
        let limits = Limits { memory_bytes: 1024 * 1024, ..Limits::default() };
        let _budget = Budget::start(&limits);
        assert_eq!(spent(), None);
        let held = vec![1_u8; 2 * 1024 * 1024];
        assert_eq!(spent(), Some(Limit::Memory));
        drop(held);
        assert_eq!(spent(), Some(Limit::Memory));
    }

    #[test]
    fn what_an_evaluation_was_given_and_what_it_freed_do_not_count() {
        let given = vec![1_u8; 2 * 1024 * 1024];
        let limits = Limits { memory_bytes: 1024 * 1024, ..Limits::default() };
        let _budget = Budget::start(&limits);
        for _ in 0..100 {
            drop(vec![1_u8; 512 * 1024]);
            assert_eq!(spent(), None);
        }
        drop(given);
        assert_eq!(spent(), None);
    }

    #[test]
    fn an_evaluation_inside_another_has_its_own_budget_within_the_time_of_both() {
        let outer = Budget::start(&Limits { time: Duration::ZERO, operations: 100, ..limits() });
        {
            let inner = Budget::start(&limits());
            let ended = (0..16).find_map(|_| spent());
            assert_eq!(ended, Some(Limit::Operations));
            assert!(inner.operations() > 10);
        }
        assert_eq!((0..16).find_map(|_| spent()), Some(Limit::Time));
        assert!(outer.operations() > 10);
        drop(outer);
        assert_eq!(spent(), None, "nothing stands on the thread any more");
    }

    #[test]
    fn each_limit_has_its_message() {
        let case = |limit, memory_bytes, expected: &str| {
            assert_eq!(Spent { limit, memory_bytes }.message(), expected);
        };
        case(Limit::Operations, 0, "the script takes too many steps");
        case(Limit::Time, 0, "the script takes too long");
        case(Limit::Memory, 32 * 1024 * 1024, "the script holds more than 32 MiB");
        case(Limit::Memory, 1000, "the script holds more than 1000 bytes");
    }
}
