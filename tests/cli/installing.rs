//! What those need who install and watch it: completions, manual pages, the health check.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::world::{World, finish, signal};

#[tokio::test(flavor = "multi_thread")]
async fn completions_are_scripts_of_their_shell() {
    let world = World::small().await;
    for (shell, word) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef attune"),
        ("fish", "complete -c attune"),
        ("elvish", "edit:completion"),
    ] {
        let script = world.run(&format!("completions {shell}")).await.ended(0).stdout;
        assert!(script.contains(word) && script.contains("healthcheck"), "{shell}: {script}");
    }
    let script = world.run("completions bash").await.stdout;
    std::fs::write(world.path("attune.bash"), script).unwrap();
    // What bash offers for `attune held re`, and after `--take`.
    for (line, offered) in [("attune held re", "resolve\nretry"), ("attune held resolve --take ", "crm\nstore")] {
        let words: Vec<&str> = line.split(' ').collect();
        let before = words[words.len() - 2];
        let last = words[words.len() - 1];
        let act = format!(
            "source attune.bash; COMP_WORDS=({line} ); [ '{last}' ] || COMP_WORDS+=(''); COMP_CWORD={}; \
             _attune attune '{last}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\" | sort",
            words.len() - 1
        );
        let bash = Command::new("bash").args(["-c", &act]).current_dir(world.folder.path()).output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&bash.stdout).trim(), offered, "{line}: {bash:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_has_a_manual_page() {
    let world = World::small().await;
    std::fs::create_dir(world.path("pages")).unwrap();
    world.run("man pages").await.ended(0);
    let page = |name: &str| std::fs::read_to_string(world.path("pages").join(name)).unwrap_or_default();
    for (name, words) in [
        ("attune.1", vec![".TH attune 1", "EXIT STATUS", "CREDENTIALS_DIRECTORY", "attune\\-sync(1)"]),
        ("attune-sync.1", vec!["attune\\-sync", "\\-\\-expect", "\\-\\-patience"]),
        ("attune-held-resolve.1", vec!["\\-\\-take"]),
        ("attune-simulate.1", vec!["\\-\\-fault"]),
    ] {
        let page = page(name);
        assert!(words.iter().all(|word| page.contains(word)), "{name}: {words:?}\n{page}");
    }
    assert_eq!(world.run("man").await.ended(0).stdout.trim_end(), page("attune.1").trim_end());
    world.run("man nowhere").await.ended(75).complains(&["nowhere cannot be written"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_asks_the_daemon_and_nothing_else() {
    let world = World::small().await;
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sound = format!("[server]\nlisten = \"{address}\"");
    world.configure("", "", &sound);
    world.run("healthcheck").await.ended(75).complains(&["/livez"]);

    let running = world.command("run").spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while world.run("healthcheck --ready").await.code != 0 {
        assert!(Instant::now() < until, "not ready within 30 s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let said = world.run("healthcheck").await.ended(0);
    assert!(said.json().is_object() && said.stderr.is_empty(), "{said:#?}");

    // What was broken since the start does not make the process look ill, and so is no reason to end it.
    world.configure("nonsense = true", "", &sound);
    world.run("healthcheck").await.ended(0);
    std::fs::write(world.path("attune.toml"), "no TOML").unwrap();
    world.run("healthcheck").await.ended(78).complains(&["attune.toml"]);
    let everywhere = format!("0.0.0.0:{}", address.port());
    world.run_with("healthcheck", "ATTUNE__SERVER__LISTEN", &everywhere).await.ended(0);

    // A process that hangs takes connections and does not answer.
    signal(&running, "STOP").await;
    let mut asking = world.command("healthcheck --patience 300ms");
    let asking = asking.env("ATTUNE__SERVER__LISTEN", &everywhere).stdin(Stdio::null()).spawn().unwrap();
    finish(asking).await.ended(75).complains(&["no answer within 300ms"]);
    signal(&running, "CONT").await;
    signal(&running, "TERM").await;
    finish(running).await.ended(0);

    let stranger = world.simulator.address().to_string();
    world.run_with("healthcheck", "ATTUNE__SERVER__LISTEN", &stranger).await.ended(75).complains(&["not Attune"]);
    world.run_with("healthcheck", "ATTUNE__SERVER__LISTEN", "off").await.ended(78).complains(&["\"off\""]);
    world.run_with("healthcheck", "ATTUNE__SERVER__LISTEN", "here").await.ended(78).complains(&["server.listen"]);
}
