//! Groups, public repositories, what goes with a repository, and why a key may fetch one.

use crate::support::Site;

fn told(site: &Site, runs: &[&[&str]]) -> String {
    runs.iter().map(|args| format!("$ pullgate {}\n{}\n", args.join(" "), site.run(args))).collect()
}

#[test]
fn groups_live_and_go_with_their_grants() {
    let site = Site::with_acme();
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub"]);
    let story = told(
        &site,
        &[
            &["group", "list"],
            &["group", "list", "--json"],
            &["key", "grant", "acme/ci", "acme/@backend"],
            &["group", "add", "acme/@backend", "acme/api", "acme/worker"],
            &["group", "add", "acme/@backend", "acme/api"],
            &["key", "grant", "acme/ci", "acme/@backend"],
            &["group", "list", "acme"],
            &["group", "list", "--json"],
            &["group", "remove", "acme/@backend", "acme/worker"],
            &["group", "remove", "acme/@backend", "acme/worker"],
            &["group", "remove", "acme/@backend"],
            &["group", "remove", "acme/@backend", "--yes"],
            &["group", "remove", "acme/@backend", "--yes"],
            &["key", "show", "acme/ci"],
            &["group", "add", "acme/backend", "acme/api"],
            &["group", "add", "acme/@backend", "other/api"],
            &["group", "add", "nobody/@backend", "nobody/api"],
            &["group", "list", "nobody"],
        ],
    );
    site.snapshot("groups", &story);
}

#[test]
fn a_repository_is_published_shown_and_removed() {
    let site = Site::with_acme();
    let bare = site.path("repositories/acme/app.git");
    std::fs::create_dir_all(bare.join("objects")).unwrap();
    std::fs::create_dir_all(bare.join("refs/heads")).unwrap();
    std::fs::write(bare.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    std::fs::write(bare.join("config"), "[core]\nrepositoryformatversion = 0\nbare = true\n").unwrap();
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub", "--grant", "acme/app", "--grant", "acme/a*"]);
    site.ok(&["account-key", "add", "acme", "jo", "--key", "b.pub"]);
    site.ok(&["group", "add", "acme/@all", "acme/app"]);
    let story = told(
        &site,
        &[
            &["repo", "show", "acme/app"],
            &["repo", "publish", "acme/app"],
            &["repo", "publish", "acme/app"],
            &["repo", "publish", "acme/none"],
            &["repo", "publish", "nobody/app"],
            &["repo", "publish", "../etc"],
            &["repo", "show", "acme/app", "--json"],
            &["key", "list", "--grants", "acme/app"],
            &["key", "list", "--grants", "acme/zoo"],
            &["repo", "remove", "acme/app"],
            &["repo", "remove", "acme/app", "--yes"],
            &["repo", "remove", "acme/app"],
            &["repo", "unpublish", "acme/none"],
            &["repo", "unpublish", "acme/none"],
            &["repo", "show", "acme/app"],
        ],
    );
    site.snapshot("repos", &story);
    assert!(bare.join("HEAD").exists(), "no file is touched");
}

#[test]
fn explain_names_the_rule_that_decides_and_what_would_change_it() {
    let site = Site::with_acme();
    let bare = site.path("repositories/acme/app.git");
    std::fs::create_dir_all(bare.join("objects")).unwrap();
    std::fs::create_dir_all(bare.join("refs/heads")).unwrap();
    std::fs::write(bare.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    std::fs::write(bare.join("config"), "[core]\nrepositoryformatversion = 0\nbare = true\n").unwrap();
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub", "--grant", "acme/a*"]);
    let story = told(
        &site,
        &[
            &["explain", "acme/ci", "acme/app"],
            &["explain", "acme/ci", "acme/app", "--json"],
            &["explain", "acme/ci", "acme/absent"],
            &["explain", "acme/ci", "acme/lib"],
            &["key", "sources", "acme/ci", "10.0.0.0/8"],
            &["explain", "acme/ci", "acme/app"],
            &["explain", "acme/ci", "acme/app", "--from", "10.1.2.3"],
            &["explain", "acme/ci", "acme/app", "--from", "192.0.2.1"],
            &["key", "suspend", "acme/ci"],
            &["explain", "acme/ci", "acme/app", "--from", "10.1.2.3"],
            &["explain", "acme/none", "acme/app"],
            &["explain", "acme/ci", "../etc", "--from", "here"],
        ],
    );
    site.snapshot("explain", &story);
}
