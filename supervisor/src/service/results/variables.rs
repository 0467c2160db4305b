//! Variables of a command's environment that no plugin sets: they decide which code runs, or whom it reaches and trusts.

/// Names, in capitals; how a name is written does not matter.
const NAMES: &[&str] = &[
    // Loaders and libraries.
    "GCONV_PATH",
    "HOSTALIASES",
    "LIBPATH",
    "LOCALDOMAIN",
    "LOCPATH",
    "NLSPATH",
    "RES_OPTIONS",
    "SHLIB_PATH",
    // Where programs, configuration and temporary files are looked for.
    "CDPATH",
    "FPATH",
    "HOME",
    "INFOPATH",
    "MANPATH",
    "OLDPWD",
    "PATH",
    "PATHEXT",
    "PKG_CONFIG_PATH",
    "PWD",
    "TEMP",
    "TERMINFO",
    "TMP",
    "TMPDIR",
    "USERPROFILE",
    "ZDOTDIR",
    // Shells, and programs that others start.
    "BASHOPTS",
    "BASH_ENV",
    "COMSPEC",
    "EDITOR",
    "ENV",
    "IFS",
    "PAGER",
    "PROMPT_COMMAND",
    "PS4",
    "SHELL",
    "SHELLOPTS",
    "VISUAL",
    // Proxies whose names do not end like the others'.
    "GOPROXY",
    "PROXYCHAINS_CONF_FILE",
    // TLS.
    "AWS_CA_BUNDLE",
    "CURL_HOME",
    "SSLKEYLOGFILE",
    // Language runtimes and their package managers.
    "CLASSPATH",
    "ELECTRON_RUN_AS_NODE",
    "GEM_HOME",
    "GEM_PATH",
    "GRADLE_OPTS",
    "GUILE_LOAD_PATH",
    "JAVA_HOME",
    "JAVA_OPTS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "MAVEN_ARGS",
    "MAVEN_OPTS",
    "NODE_COMPILE_CACHE",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_REPL_EXTERNAL_MODULE",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "NODE_USE_ENV_PROXY",
    "NODE_USE_SYSTEM_CA",
    "PERLLIB",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "RUSTC",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "TCLLIBPATH",
    "VIRTUAL_ENV",
    "_JAVA_OPTIONS",
];

/// Beginnings of names, in capitals.
const PREFIXES: &[&str] = &[
    // Loaders and libraries; and how the supervisor tells its own processes.
    "DYLD_",
    "GLIBC_",
    "LD_",
    "MALLOC_",
    "OUTRIGGER_",
    // Paths.
    "XDG_",
    // Shell functions that are handed on.
    "BASH_FUNC_",
    // TLS.
    "CURL_CA_",
    "CURL_SSL_",
    "GNUTLS_",
    "NSS_",
    "OPENSSL_",
    "REQUESTS_CA_",
    "SSL_",
    // Git reads all of the above from its own.
    "GIT_ASKPASS",
    "GIT_CONFIG",
    "GIT_EDITOR",
    "GIT_EXEC_PATH",
    "GIT_EXTERNAL_DIFF",
    "GIT_PAGER",
    "GIT_PROXY_",
    "GIT_SEQUENCE_EDITOR",
    "GIT_SSH",
    "GIT_SSL_",
    "GIT_TEMPLATE_DIR",
    // Language runtimes and their package managers.
    "BUNDLE_",
    "BUN_",
    "CARGO_",
    "COMPLUS_",
    "CORECLR_",
    "COR_",
    "DENO_",
    "DOTNET_",
    "ERL_",
    "GODEBUG",
    "GOENV",
    "GOFLAGS",
    "GONOSUMDB",
    "GOPATH",
    "GOPRIVATE",
    "GOROOT",
    "GOSUMDB",
    "GOTOOLCHAIN",
    "JULIA_",
    "LUA_",
    "NPM_CONFIG_",
    "PERL5",
    "PIP_",
    "PYTHON",
    "RUBY",
    "RUSTC_",
    "RUSTUP_",
    "R_",
    "UV_",
    "YARN_",
];

/// Ends of names, in capitals.
const SUFFIXES: &[&str] = &["_CA_BUNDLE", "_CA_CERTS", "_PROXY", "_ROOTS_FILE_PATH"];

/// Whether a text is the name of a variable.
pub(super) fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a variable is not a plugin's to set. Capitals or not makes no difference: some programs read both.
pub(super) fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    NAMES.contains(&name.as_str())
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_about_code_and_trust_is_reserved() {
        for name in [
            "PATH",
            "LD_PRELOAD",
            "ld_library_path",
            "DYLD_INSERT_LIBRARIES",
            "http_proxy",
            "ALL_PROXY",
            "no_proxy",
            "npm_config_proxy",
            "SSL_CERT_FILE",
            "SSLKEYLOGFILE",
            "REQUESTS_CA_BUNDLE",
            "NODE_OPTIONS",
            "NODE_EXTRA_CA_CERTS",
            "PYTHONPATH",
            "PYTHONSTARTUP",
            "PERL5OPT",
            "RUBYOPT",
            "JAVA_TOOL_OPTIONS",
            "BASH_ENV",
            "ENV",
            "GIT_SSH_COMMAND",
            "GIT_CONFIG_COUNT",
            "GOFLAGS",
            "RUSTC_WRAPPER",
            "DOTNET_STARTUP_HOOKS",
            "OUTRIGGER_LAUNCH",
            "HOME",
            "TMPDIR",
            "LUA_INIT",
            "PHPRC",
            "CLASSPATH",
            "GLIBC_TUNABLES",
        ] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["NODE_ENV", "MY_PATH", "GIT_AUTHOR_NAME", "PROXY", "TOKEN", "LANG", "SESSION_ID", "GOAL", "RUN_ID"]
        {
            assert!(!is_reserved(name), "{name}");
        }
    }

    #[test]
    fn names_have_their_shape() {
        for name in ["A", "_", "a1", "A_b"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "1A", "A-B", "A=B", "Ä", "A B", "BASH_FUNC_x%%"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
