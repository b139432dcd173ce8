//! The `command` adapter: a program with its arguments, never a shell.

use std::{io, os::unix::process::ExitStatusExt as _, path::Path, process::Stdio};

use super::{
    Call, Scene,
    capture::Captured,
    failure::{Class, Failure},
    keeping::Keeping,
    launch,
    process::{self, Ended, Trouble},
    redact::Secrets,
    shelf::{not_kept, reference},
};
use flotilla_common::definition::{ProgramLimits, Template};
use rustix::process::Signal;
use serde_json::{Map, Value};

/// Longest excerpt of the program's complaint in a message, in characters.
const COMPLAINT_LENGTH_MAX: usize = 300;

/// Runs the program: one template is one argument, whatever stands in it. It sees the tool's `env` list, PATH, HOME, LANG and
/// TZ, and no input on stdin. Its output is `{"exit_code", "stdout", "stderr"?, "truncated"?}`; with
/// `kept`, all of stdout up to so many bytes goes to the object store, and `stdout` is the reference.
pub(super) async fn run(
    call: &Call<'_>,
    argv: &[Template],
    cwd: Option<&Template>,
    limits: &ProgramLimits,
    kept: Option<u64>,
    scene: &Scene<'_>,
) -> Result<Value, Failure> {
    let (program, arguments) = arguments(argv, scene)?;
    let cwd = cwd
        .map(|cwd| {
            cwd.render(&scene.context)
                .map_err(|e| Failure::hole("cwd", &e))
        })
        .transpose()?;
    if let Some(cwd) = &cwd {
        // Without this check the system says "no such file" and means either.
        if !Path::new(cwd).is_dir() {
            let message = format!("cannot start `{program}` in `{cwd}`: there is no such folder");
            return Err(Failure::new(Class::Spawn, message));
        }
    }
    let mut command = launch::command(&program, cwd.as_deref(), limits, scene)
        .map_err(|error| not_started(&program, &error))?;
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let upload = kept.map(|limit| scene.shelf.upload(call, limit));
    let mut keeping = upload.transpose()?.map(Keeping::new);
    let (limit, output_limit) = (call.tool.timeout, call.tool.output_limit);
    match process::run(&mut command, limit, output_limit, keeping.as_mut()).await {
        Ok(ended) => {
            let output = outcome(call, &program, &ended, &scene.secrets);
            match keeping {
                Some(keeping) => Box::pin(keep(keeping, &program, &ended, output, scene)).await,
                None => output,
            }
        }
        Err(Trouble::Start(error)) => Err(not_started(&program, &error)),
        Err(Trouble::End(error)) if error.kind() == io::ErrorKind::TimedOut => {
            let message = format!("`{program}` took too long and did not end when it was killed");
            Err(Failure::new(Class::Timeout, message))
        }
        Err(Trouble::End(error)) => {
            let message = format!("`{program}` was started and lost sight of: {error}");
            Err(Failure::new(Class::Lost, message))
        }
    }
}

/// The output with the reference to what was kept, where there was anything.
async fn keep(
    mut keeping: Keeping,
    program: &str,
    ended: &Ended,
    output: Result<Value, Failure>,
    scene: &Scene<'_>,
) -> Result<Value, Failure> {
    let mut output = match output {
        Ok(output) if !ended.stdout.is_empty() => output,
        output => {
            keeping.give_up().await;
            return output;
        }
    };
    let head = Captured::of(ended.stdout.bytes());
    let kept = keeping.finish(head.begins(&scene.secrets).is_some()).await;
    let blob = kept.map_err(|error| not_kept(&format!("what `{program}` wrote"), &error))?;
    output["stdout"] = reference(&blob, &head, &scene.secrets);
    if let Some(fields) = output.as_object_mut()
        && !ended.stderr.is_over()
    {
        fields.shift_remove("truncated");
    }
    Ok(output)
}

fn arguments(argv: &[Template], scene: &Scene<'_>) -> Result<(String, Vec<String>), Failure> {
    let Some((program, rest)) = argv.split_first() else {
        return Err(Failure::new(Class::Config, "the tool's `command` is empty"));
    };
    if let Some(path) = program
        .paths()
        .iter()
        .find(|path| !path.starts_with("env."))
    {
        let message = format!(
            "the tool's program is `{}`, with `{path}` in it; which program runs is the definition's choice alone",
            program.source()
        );
        return Err(Failure::new(Class::Config, message));
    }
    let program = argument(0, program, scene)?;
    let arguments = rest
        .iter()
        .enumerate()
        .map(|(index, item)| argument(index + 1, item, scene))
        .collect::<Result<_, _>>()?;
    Ok((program, arguments))
}

fn argument(index: usize, item: &Template, scene: &Scene<'_>) -> Result<String, Failure> {
    let place = format!("argument {index} (`{}`)", item.source());
    let text = item
        .render(&scene.context)
        .map_err(|error| Failure::hole(&place, &error))?;
    if text.contains('\0') {
        let message = format!("{place} has a NUL in it, which no argument can have");
        return Err(Failure::new(Class::Input, message));
    }
    // An option that the definition itself begins (`--name={{ … }}`) stays that option; a value must not become one.
    if text.starts_with('-') && !literal_start(item.source()).starts_with('-') {
        let message = format!(
            "{place} would begin with `-`, and so be read as an option; give a value that does not, such as ./-name for a file"
        );
        return Err(Failure::new(Class::Input, message));
    }
    Ok(text)
}

/// What stands before the first hole.
fn literal_start(source: &str) -> &str {
    let holes = ["{{", "{%", "{#"];
    let end = holes.iter().filter_map(|mark| source.find(mark)).min();
    end.map_or(source, |end| &source[..end])
}

fn not_started(program: &str, error: &io::Error) -> Failure {
    let why = if error.kind() == io::ErrorKind::NotFound {
        "there is no such program on the executor's PATH".to_owned()
    } else {
        error.to_string()
    };
    Failure::new(Class::Spawn, format!("cannot start `{program}`: {why}"))
}

fn outcome(
    call: &Call<'_>,
    program: &str,
    ended: &Ended,
    secrets: &Secrets,
) -> Result<Value, Failure> {
    let (stdout, out_cut) = ended.stdout.text(secrets);
    let (stderr, err_cut) = ended.stderr.text(secrets);
    let complaint = complaint(&stderr);
    let mut output = Map::new();
    match (ended.status.code(), ended.status.signal()) {
        (Some(code), _) => output.insert("exit_code".into(), code.into()),
        (None, signal) => output.insert("signal".into(), signal.into()),
    };
    output.insert("stdout".into(), stdout.into());
    if !stderr.is_empty() {
        output.insert("stderr".into(), stderr.into());
    }
    if out_cut || err_cut {
        output.insert("truncated".into(), true.into());
    }
    let (class, message) = match (ended.timed_out, ended.status.code(), ended.status.signal()) {
        (false, Some(0), _) => return Ok(output.into()),
        (true, _, _) => {
            let limit = call.tool.timeout;
            let message = format!("`{program}` was stopped: it took longer than {limit:?}");
            (Class::Timeout, message)
        }
        (false, Some(code), _) => {
            let message = format!("`{program}` ended with status {code}{complaint}");
            (Class::Exit, message)
        }
        (false, None, signal) => {
            let signal = signal.unwrap_or_default();
            let why = over_limit(signal);
            let message = format!("`{program}` was killed by signal {signal}{why}{complaint}");
            (Class::Signal, message)
        }
    };
    Err(Failure::new(class, message).with(output.into()))
}

/// Which of its limits the kernel kills a program for by this signal.
fn over_limit(signal: i32) -> &'static str {
    if signal == Signal::XCPU.as_raw() {
        ": it used more processor time than its `limits.cpu`"
    } else if signal == Signal::XFSZ.as_raw() {
        ": it wrote a larger file than its `limits.file`"
    } else {
        ""
    }
}

/// The last thing it said on stderr.
fn complaint(stderr: &str) -> String {
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(String::new, |line| {
        let line: String = line.trim().chars().take(COMPLAINT_LENGTH_MAX).collect();
        format!(": {line}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_start_ends_at_the_first_hole_of_any_kind() {
        assert_eq!(literal_start("--a={{ x }}"), "--a=");
        assert_eq!(literal_start("{% if x %}-{% endif %}"), "");
        assert_eq!(literal_start("{# - #}{{ x }}"), "");
        assert_eq!(literal_start("-h"), "-h");
    }
}
