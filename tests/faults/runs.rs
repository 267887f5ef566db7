//! Training runs that are killed or whose files fail: they are taken up again at a whole checkpoint, none of what they had
//! saved is lost, and they end with the same weights, bit for bit, as the run that nothing happened to.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::common::{Outcome, run_quietly};
use super::{
    KILL_BEFORE, KILL_HALF, Random, enough, exchange, kills, kinds, met, preloaded, scratch,
    was_killed,
};

type Test = Box<dyn FnOnce() -> Outcome + Send>;

pub fn tests() -> Vec<(String, Test)> {
    let mut tests: Vec<(String, Test)> = vec![
        ("killed_at_random".into(), Box::new(killed_at_random)),
        ("killed_steps".into(), Box::new(killed_steps)),
        ("failing_steps".into(), Box::new(failing_steps)),
    ];
    for (can_exchange, how) in [(true, "exchanging"), (false, "renaming_twice")] {
        let test = move || killed_saves(can_exchange);
        tests.push((format!("killed_saves::{how}"), Box::new(test)));
    }
    tests
}

/// A directory in which one plan is run again and again, and what it gives without an interruption.
struct Plan {
    directory: TempDir,
    epochs: u32,
    /// Of the uninterrupted run.
    steps: u64,
    seconds: Duration,
}

impl Plan {
    fn new(epochs: u32) -> Result<Plan, String> {
        let mut plan = Plan {
            directory: scratch()?,
            epochs,
            steps: 0,
            seconds: Duration::ZERO,
        };
        let started = Instant::now();
        let steps = run_quietly(&mut plan.command("whole", &[])?)?;
        plan.seconds = started.elapsed();
        plan.steps = steps.trim().parse().map_err(|_| steps.clone())?;
        Ok(plan)
    }

    fn command(&self, mode: &str, arguments: &[&str]) -> Result<Command, String> {
        let mut command = preloaded(|programs| &programs.runs)?;
        command
            .arg(mode)
            .arg(self.directory.path())
            .arg(self.epochs.to_string())
            .args(arguments);
        Ok(command)
    }

    /// Kills `mode` before each of its calls, and in the middle of each of its reads and writes; each begins with ending the
    /// run that was killed before. The number of calls, and the steps at which the runs were taken up.
    fn kill_at_each(&self, mode: &str, can_exchange: bool) -> Result<(usize, Vec<String>), String> {
        let out = self.directory.path().join("out");
        let mut found = Vec::new();
        let mut kill = |call: usize, kind: i32| -> Result<bool, String> {
            let arguments = [call.to_string(), kind.to_string(), exchange(can_exchange)];
            let fail = |error: std::io::Error| error.to_string();
            let status = self
                .command(mode, &arguments.each_ref().map(String::as_str))?
                .stdout(File::create(&out).map_err(fail)?)
                .status()
                .map_err(fail)?;
            let lines = fs::read_to_string(&out).map_err(fail)?;
            found.extend(lines.lines().map(str::to_string));
            was_killed(status).map_err(|e| {
                format!("{mode} with a kill ({kind}) at call {call}, or the one before: {e}")
            })
        };
        let mut calls = 0;
        while kill(calls + 1, KILL_BEFORE)? {
            calls += 1;
        }
        let mut transfers = 0;
        while kill(transfers + 1, KILL_HALF)? {
            transfers += 1;
        }
        if transfers == 0 {
            return Err("the shim saw nothing read or written".into());
        }
        Ok((calls, found))
    }
}

/// Killed at each call from the first checkpoint to the second: the history, the best model, the checkpoint, and the
/// removal of the older one.
fn killed_steps() -> Outcome {
    let (calls, found) = Plan::new(3)?.kill_at_each("step", true)?;
    eprintln!("{calls} calls");
    enough(calls)?;
    met(&found, &["4", "8"])
}

/// Killed at each call of a save over a checkpoint.
fn killed_saves(can_exchange: bool) -> Outcome {
    let (calls, found) = Plan::new(3)?.kill_at_each("save", can_exchange)?;
    eprintln!("{calls} calls");
    enough(calls)?;
    met(&found, &["4", "5"])
}

/// Each call fails once, with one error or another, and each read and write is interrupted or cut short once; where more
/// kills at random are asked for than usual, each call with each error.
fn failing_steps() -> Outcome {
    const IN_TURN: i32 = 0;
    let plan = Plan::new(3)?;
    let all = kinds();
    let [.., interrupted, short] = all;
    let few = [IN_TURN, interrupted, short];
    let is_long = kills(0)? > 0;
    for kind in if is_long { &all[..] } else { &few[..] } {
        let calls = run_quietly(&mut plan.command("fail", &[&kind.to_string()])?)?;
        eprintln!("kind {kind}: {} calls", calls.trim());
        enough(calls.trim().parse()?)?;
    }
    Ok(())
}

/// `kill -9` at random moments of a run, which is taken up again each time; where it ends before it was killed often
/// enough, another one begins. Each ends as the one that was never interrupted, and none falls behind a step that it was
/// taken up at before.
fn killed_at_random() -> Outcome {
    let kills = kills(20)?;
    let plan = Plan::new(150)?;
    let mut random = Random::default();
    // So that a run is killed often before it ends, also where each start takes a while.
    let longest = u32::try_from(plan.seconds.as_micros() / 4)?;
    let out = plan.directory.path().join("out");
    let (mut killed, mut ended) = (0, 0);
    let mut taken_up = Vec::new();
    let mut last = 0;
    loop {
        let mut child = plan
            .command("go_on", &[])?
            .stdout(File::create(&out)?)
            .spawn()?;
        if killed < kills {
            std::thread::sleep(Duration::from_micros(random.below(longest)));
            child.kill()?;
        }
        let status = child.wait()?;
        let text = fs::read_to_string(&out)?;
        if let Some(warning) = text.lines().find(|line| line.starts_with("warning")) {
            return Err(format!("after {killed} kills: {warning}").into());
        }
        let at = text.lines().find_map(|line| line.strip_prefix("at "));
        if let Some(at) = at {
            let at: u64 = at.parse()?;
            if at < last {
                return Err(format!("taken up at step {at}, and before at {last}").into());
            }
            last = at;
            taken_up.push(at);
        } else if status.success() && last > 0 {
            return Err(format!("begun anew, and before taken up at step {last}").into());
        }
        if status.success() && text.lines().any(|line| line == "done") {
            ended += 1;
            last = 0;
            fs::remove_dir_all(plan.directory.path().join("work"))?;
            if killed == kills {
                break;
            }
        } else if status.signal() == Some(9) {
            killed += 1;
        } else {
            return Err(format!("a run ended with {status} after {killed} kills").into());
        }
    }
    eprintln!(
        "{kills} kills of runs of {} steps: {ended} ended, all with the same weights; taken up at the steps {taken_up:?}",
        plan.steps
    );
    if taken_up.len() < kills as usize / 2 {
        return Err(format!("taken up {} times only: {taken_up:?}", taken_up.len()).into());
    }
    Ok(())
}
