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

#[test]
fn lists_are_paged_and_places_and_copies_are_told_as_json() {
    let site = Site::with_acme();
    for name in ["app", "lib"] {
        let bare = site.path(&format!("repositories/acme/{name}.git"));
        std::fs::create_dir_all(bare.join("objects")).unwrap();
        std::fs::create_dir_all(bare.join("refs/heads")).unwrap();
        std::fs::write(bare.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        std::fs::write(bare.join("config"), "[core]\nrepositoryformatversion = 0\nbare = true\n").unwrap();
    }
    site.ok(&["key", "add", "acme", "ci-1", "--key", "a.pub", "--grant", "acme/app"]);
    site.ok(&["key", "add", "acme", "ci-2", "--key", "b.pub", "--grant", "acme/lib"]);
    site.ok(&["repo", "publish", "acme/lib"]);
    let story = told(
        &site,
        &[
            &["repo", "list"],
            &["repo", "list", "acme"],
            &["repo", "list", "acme", "--json"],
            &["repo", "list", "nobody"],
            &["whereis", "a.pub", "--json"],
            &["whereis", "config.toml", "--json"],
            &["key", "list", "--limit", "1"],
            &["key", "list", "--limit", "1", "--after", "acme/ci-1"],
            &["key", "list", "--limit", "1", "--after", "acme/ci-2"],
            &["key", "list", "--limit", "0"],
            &["key", "list", "--after", "ci-1"],
        ],
    );
    site.snapshot("pages_and_json", &story);
    // Times have as many digits as they need, and so its length is not the same each time.
    let copied: serde_json::Value = serde_json::from_str(&site.ok(&["backup", "copy", "--json"]).out).unwrap();
    let bytes = std::fs::metadata(site.path("copy")).unwrap().len();
    assert_eq!(copied, serde_json::json!({"bytes": bytes, "changes": 4, "file": "copy"}));
}
