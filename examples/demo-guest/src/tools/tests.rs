//! The steps with a stand-in for the command: a script that reports as it should, or not.

use super::*;

/// Reports as the command does; a receiver finds what the sender has left in the same folder.
const HONEST: &str = r#"
sum() { sha256sum "$1" | cut -d' ' -f1; }
transfer() {
    printf '{"connection":"%s","role":"%s","bytes":%s,"sha256":"%s","seconds":0.5,"bytes_per_second":1000,' "$2" "$1" "$(wc -c <"$3")" "$(sum "$3")"
    printf '"messages":1,"doorbells":2,"sleeps":3}\n'
}
echo "$*" >>"$FOLDER/calls"
case $1 in
send) cp "$3" "$FOLDER/wire"; transfer send "$2" "$3" ;;
recv) cp "$FOLDER/wire" "$3"; transfer recv "$2" "$3" ;;
ping) printf '{"connection":"%s","sent":%s,"received":%s,"size":64,' "$2" "$4" "$4"
    printf '"nanoseconds":{"min":1,"mean":2,"p50":2,"p90":2,"p99":3,"p999":3,"max":4},"doorbells":2,"sleeps":3}\n' ;;
pong) printf '{"connection":"%s","answered":1000,"doorbells":2,"sleeps":3}\n' "$2" ;;
esac
"#;

fn with_command<T>(script: &str, act: impl FnOnce(&Bench<'_>) -> T) -> (T, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crossvm");
    std::fs::write(&path, format!("FOLDER='{}'\n{script}", folder.path().display())).unwrap();
    let report = Report::new("test");
    let bench = Bench {
        crossvm: Program::new("sh").with(&path),
        ping: Program::new("false"),
        nc: Program::new("false"),
        folder: folder.path(),
        report: &report,
        tools: Tools::Brief,
        silence: Duration::from_secs(60),
    };
    let result = act(&bench);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| ["crossvm", "calls", "wire"].iter().any(|known| name == known)), "{left:?}");
    (result, std::fs::read_to_string(folder.path().join("calls")).unwrap_or_default())
}

/// The peer always is.
fn ready() -> Result<(), String> {
    Ok(())
}

#[test]
fn both_sides_run_the_command_and_leave_no_file() {
    let [stock, own] = SETS;
    let (result, calls) = with_command(HONEST, |bench| {
        bench.send(stock, ready)?;
        bench.receive(stock, ready)?;
        bench.ping(own)?;
        bench.pong(own)
    });
    assert_eq!(result, Ok(()));
    let calls: Vec<_> =
        calls.lines().map(|line| line.split(' ').filter(|word| !word.contains('/')).collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "send bulk --json --timeout 60",
        "recv bulk --json --timeout 60",
        "ping ping-msix --count 1000 --size 64 --json --timeout 60",
        "pong ping-msix --json --timeout 60",
    ];
    assert_eq!(calls, expected);
}

#[test]
fn a_digest_that_is_not_the_file_s_is_noticed() {
    let lying = HONEST.replace("sha256sum", "sha256sum /dev/null; true");
    let (result, _) = with_command(&lying, |bench| bench.send(SETS[0], ready));
    assert!(result.unwrap_err().contains("the file's is"));
    let changed =
        HONEST.replace("cp \"$FOLDER/wire\" \"$3\"; transfer recv \"$2\" \"$3\"", "transfer recv \"$2\" \"$FOLDER/wire\" | tee \"$3\"");
    let (result, _) = with_command(&changed, |bench| bench.send(SETS[0], ready).and_then(|()| bench.receive(SETS[0], ready)));
    assert!(result.is_err(), "the file is not what was received");
}

#[test]
fn what_the_command_complains_of_is_the_reason() {
    let (result, _) = with_command("echo 'no connection bulk' >&2; exit 1", |bench| bench.send(SETS[0], ready));
    let told = result.unwrap_err();
    assert!(told.contains("exit status: 1: no connection bulk"), "{told}");
    let (result, _) = with_command("echo nonsense", |bench| bench.ping(SETS[0]));
    assert!(result.unwrap_err().contains("not the JSON"));
}
