// What `holdfast watch` is to do, from its flags and from a JSON file. Pure.
#pragma once

#include <holdfast/http/tls.hpp>
#include <holdfast/http/url.hpp>
#include <holdfast/opencode/server.hpp>

#include <boost/json/value.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::app {

struct watched_server {
    http::url url;
    std::string tag;    ///< the name that is shown; empty: host and port are
    std::string user;   ///< "NAME" or "NAME:PASSWORD"; empty: that of all
    std::string bearer; ///< a token instead of user and password
    std::vector<std::string> sessions;
    std::optional<bool> discover; ///< nothing: as for all
    bool global_stream = false;
    opencode::protocol protocol = opencode::protocol::automatic;
};

struct watch_config {
    std::vector<watched_server> servers;
    std::vector<std::string> sessions; ///< each held at the first server that knows it
    bool discover = false;
    duration discover_every = seconds(5);
    std::size_t max_runs = 2000; ///< discovered ones of each server: the newest
    std::string user;
    http::tls_options tls;
    retry::policy policy; ///< of the streams; for daemons: it never gives up
    duration stall_timeout = seconds(60);
    opencode::capture_config capture;
    std::size_t turn_text = 64u << 10; ///< bytes of text kept of the turns of one session; 0: all
    /// Bytes of one event of a stream. While one is read, nothing else is: the port must answer meanwhile. A
    /// real server sent one of 31 MB.
    std::size_t event_bytes = 32u << 20;
    opencode::turn_limits limits; ///< of every turn of every session, whoever prompted it
    std::vector<opencode::ask_rule> ask_rules;
    duration ask_timeout{};
    std::string ask_default = "reject";
    std::string listen_host; ///< empty: there is no port
    unsigned short listen_port = 0;
    std::string token_file;
    std::vector<std::string> hosts; ///< further names by which the port may be asked
    bool abort_on_exit = false;
    duration run_for{}; ///< zero: until a signal

    watch_config();
};

/// A setting as it was given: by a flag (a string, or true), or by a member of the file.
struct given_setting {
    std::string key;
    boost::json::value value;
};

/// What there is to set, each the same as a flag ("--ask-timeout") and as a key of the file ("ask_timeout").
struct setting_info {
    enum class shape {
        flag, ///< true or false; as a flag without a value
        one,
        many, ///< several times as a flag; in the file a list
        file, ///< in the file alone: a list of objects
    };
    std::string_view key;
    shape what;
    std::string_view type; ///< of its value, for --help
    std::string_view help;
    std::string initial; ///< for --help; empty: none is shown
};
[[nodiscard]] std::vector<setting_info> watch_settings();

/// "--ask-timeout"
[[nodiscard]] std::string flag_of(std::string_view key);

/// Sets what was given: the file's members in their order, or the flags in theirs; what comes later replaces
/// single values and adds to lists. @param prefix of the path in complaints: "watch.json: "
/// @return what is wrong with them ("servers[1].url: a string is wanted"); empty: nothing
[[nodiscard]] std::string apply_file(std::string_view text, const std::string& name, watch_config& to);
[[nodiscard]] std::string apply_flags(const std::vector<given_setting>& flags, watch_config& to);

/// The largest file of settings, in bytes.
inline constexpr std::size_t most_config_bytes = 1u << 20;

/// What was left open: without a server it is the one at 127.0.0.1:4096; a server that no session is named
/// for is discovered, unless it says otherwise or sessions are named for all. @return what does not fit
/// together
[[nodiscard]] std::string complete(watch_config& config);

} // namespace holdfast::app
