#include "watch/config.hpp"

#include "credentials.hpp"
#include "options.hpp"
#include "watch/files.hpp"

#include <holdfast/http/ascii.hpp>

#include <boost/json/parse.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <utility>

namespace holdfast::app {
namespace {

namespace json = boost::json;

/// Why the configuration is refused. Never leaves this file.
struct refusal {
    std::string why;
};

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
    throw refusal{path + ": " + why};
}

std::string_view kind_of(const json::value& v) {
    switch (v.kind()) {
    case json::kind::null: return "null";
    case json::kind::bool_: return "true or false";
    case json::kind::string: return "a string";
    case json::kind::array: return "a list";
    case json::kind::object: return "an object";
    case json::kind::int64:
    case json::kind::uint64:
    case json::kind::double_: break;
    }
    return "a number";
}

/// A value that was given, and where: "servers[1].url", "--listen".
class given {
public:
    given(const json::value& value, std::string path, bool by_flag = false)
        : value_(value), path_(std::move(path)), by_flag_(by_flag) {}

    [[noreturn]] void refuse(const std::string& why) const { app::refuse(path_, why); }

    std::string text() const {
        if (!value_.is_string())
            refuse_type("a string");
        std::string text(value_.get_string());
        if (text.empty())
            refuse("must not be empty");
        return text;
    }

    // For a field of a request: no control characters.
    std::string field_text() const {
        auto all = text();
        if (!http::is_field_value(all))
            refuse("must not contain control characters");
        return all;
    }

    bool flag() const {
        if (!value_.is_bool())
            refuse_type("true or false");
        return value_.get_bool();
    }

    // A bare number is seconds, as on the command line.
    holdfast::duration duration() const {
        if (!value_.is_string() && !value_.is_number())
            refuse_type("a duration");
        const auto shown =
            value_.is_string() ? std::string(value_.get_string()) : shortest(number_of(value_));
        const auto parsed = parse_duration(shown);
        if (!parsed)
            refuse(shown + " is not a duration (250ms, 1s, 2m, 1h; a bare number is seconds, 0 is off)");
        return *parsed;
    }

    std::uint64_t count() const {
        if (by_flag_)
            return parsed_number<std::uint64_t>("a whole number");
        if (!value_.is_number())
            refuse_type("a number");
        json::error_code not_whole;
        const auto whole = value_.to_number<std::uint64_t>(not_whole);
        if (not_whole)
            refuse("a whole number is wanted");
        return whole;
    }

    double amount() const {
        if (by_flag_)
            return parsed_number<double>("a number");
        if (!value_.is_number())
            refuse_type("a number");
        const double number = number_of(value_);
        if (!(number >= 0))
            refuse("must not be negative");
        return number;
    }

    // How often to retry: a number, or "unlimited".
    unsigned attempts() const {
        if (by_flag_ || value_.is_string()) {
            const auto parsed = parse_attempts(text());
            if (!parsed)
                refuse(text() + " is not a whole number or \"unlimited\"");
            return *parsed;
        }
        return static_cast<unsigned>(std::min<std::uint64_t>(count(), retry::unlimited - 1));
    }

    template <class Enum>
    Enum word(const choices<Enum>& among) const {
        const auto chosen = text();
        std::string words;
        for (const auto& [word, value] : among) {
            if (word == chosen)
                return value;
            words += (words.empty() ? "" : "|") + word;
        }
        refuse(chosen + " is none of " + words);
    }

    const json::object& object() const {
        if (!value_.is_object())
            refuse_type("an object");
        return value_.get_object();
    }

    /// By a flag a single one, in the file a list.
    template <class Take>
    void each(Take take) const {
        if (by_flag_)
            return take(*this);
        if (!value_.is_array())
            refuse_type("a list");
        std::size_t i = 0;
        for (const auto& one : value_.get_array())
            take(given(one, path_ + '[' + std::to_string(i++) + ']'));
    }

    const json::value& value() const { return value_; }
    const std::string& path() const { return path_; }

private:
    [[noreturn]] void refuse_type(const std::string& wanted) const {
        refuse(wanted + " is wanted, not " + std::string(kind_of(value_)));
    }

    static double number_of(const json::value& v) {
        return v.is_double()  ? v.get_double()
               : v.is_int64() ? static_cast<double>(v.get_int64())
                              : static_cast<double>(v.get_uint64());
    }

    static std::string shortest(double number) {
        std::array<char, 32> buffer{};
        const auto [end, error] =
            std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, std::chars_format::fixed);
        return error == std::errc() ? std::string(buffer.data(), end) : "such a number";
    }

    template <class Number>
    Number parsed_number(const std::string& wanted) const {
        const auto all = text();
        Number number{};
        const auto [end, error] = std::from_chars(all.data(), all.data() + all.size(), number);
        if (error != std::errc() || end != all.data() + all.size() || !(number >= 0))
            refuse(all + " is not " + wanted);
        return number;
    }

    const json::value& value_;
    std::string path_;
    bool by_flag_;
};

http::url url_of(const given& v) {
    auto parsed = http::parse_url(v.text());
    if (!parsed)
        v.refuse(parsed.error().message);
    return std::move(*parsed);
}

using opencode::ask_answer;
using opencode::ask_rule;

// "bash:git status*", or "bash" for all patterns.
ask_rule rule_of(const given& v, ask_answer answer) {
    const auto text = v.text();
    const auto colon = text.find(':');
    ask_rule rule;
    rule.permission = text.substr(0, colon);
    if (colon != std::string::npos)
        rule.pattern = text.substr(colon + 1);
    if (rule.permission.empty())
        v.refuse("a rule is given as PERMISSION or PERMISSION:PATTERN");
    rule.answer = answer;
    return rule;
}

ask_rule rule_of(const given& v) {
    ask_rule rule;
    bool answered = false;
    for (const auto& [key, value] : v.object()) {
        const given member(value, v.path() + '.' + std::string(key));
        if (key == "permission") {
            rule.permission = member.text();
        } else if (key == "pattern") {
            rule.pattern = member.text();
        } else if (key == "depth") {
            rule.depth = static_cast<unsigned>(std::min<std::uint64_t>(member.count(), 1'000'000));
        } else if (key == "answer") {
            const auto answer = opencode::parse_ask_answer(member.text());
            if (!answer)
                member.refuse(member.text() + " is none of once|always|reject|ask");
            rule.answer = *answer;
            answered = true;
        } else {
            member.refuse("there is no such key");
        }
    }
    if (!answered)
        v.refuse("answer is missing");
    return rule;
}

opencode::protocol protocol_of(const given& v) {
    const auto name = v.text();
    if (name == "1")
        return opencode::protocol::v1;
    if (name == "2")
        return opencode::protocol::v2;
    if (name != "auto")
        v.refuse(name + " is none of auto|1|2");
    return opencode::protocol::automatic;
}

watched_server server_of(const given& v) {
    watched_server server;
    if (v.value().is_string()) { // a URL alone
        server.url = url_of(v);
        return server;
    }
    bool named = false;
    for (const auto& [key, value] : v.object()) {
        const given member(value, v.path() + '.' + std::string(key));
        if (key == "url") {
            server.url = url_of(member);
            named = true;
        } else if (key == "tag") {
            server.tag = member.text();
        } else if (key == "user") {
            server.user = member.field_text();
        } else if (key == "bearer") {
            server.bearer = member.text();
            if (const auto wrong = token_fault(server.bearer); !wrong.empty())
                member.refuse(wrong);
        } else if (key == "sessions") {
            member.each([&](const given& each) { server.sessions.push_back(each.text()); });
        } else if (key == "discover") {
            server.discover = member.flag();
        } else if (key == "global_stream") {
            server.global_stream = member.flag();
        } else if (key == "protocol") {
            server.protocol = protocol_of(member);
        } else {
            member.refuse("there is no such key");
        }
    }
    if (!named)
        v.refuse("url is missing");
    return server;
}

// "127.0.0.1:8080", "[::1]:0", "localhost:8080".
void set_listen(watch_config& to, const given& v) {
    const auto text = v.text();
    const auto colon = text.rfind(':');
    unsigned port = 65536;
    if (colon != std::string::npos) {
        const char* const end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
        if (error != std::errc() || stop != end)
            port = 65536;
    }
    auto host = text.substr(0, colon);
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed)
        host = host.substr(1, host.size() - 2);
    if (host.empty() || port > 65535 || (host.find(':') != std::string::npos) != bracketed)
        v.refuse(text + " is not an address and a port, as 127.0.0.1:8080 or [::1]:0");
    to.listen_host = host;
    to.listen_port = static_cast<unsigned short>(port);
}

// For all permissions, so before the rules that are more exact, wherever it stands.
void set_permissions(watch_config& to, const given& v) {
    ask_rule rule;
    rule.answer = v.word<ask_answer>(
        {{"ask", ask_answer::ask}, {"allow", ask_answer::once}, {"reject", ask_answer::reject}});
    to.ask_rules.insert(to.ask_rules.begin(), rule);
}

struct setting {
    setting_info info;
    void (*set)(watch_config& to, const given& v);
};

const std::vector<setting>& settings() {
    using shape = setting_info::shape;
    static const watch_config initial;
    static const std::vector<setting> all{
        {{"server", shape::many, "URL", "A server to watch; else http://127.0.0.1:4096", {}},
         [](watch_config& to, const given& v) {
             v.each([&](const given& one) { to.servers.push_back(server_of(one)); });
         }},
        {{"session", shape::many, "ID", "A session to hold, at the first server that knows it", {}},
         [](watch_config& to, const given& v) {
             v.each([&](const given& one) { to.sessions.push_back(one.text()); });
         }},
        {{"discover", shape::flag, {}, "Watch all sessions of each server; so it is where none is named", {}},
         [](watch_config& to, const given& v) {
             to.discover = v.flag();
         }},
        {{"discover_every", shape::one, "DURATION", "How often a server is asked for its sessions",
          format_duration(initial.discover_every)},
         [](watch_config& to, const given& v) {
             to.discover_every = v.duration();
             if (to.discover_every < milliseconds(100))
                 v.refuse("at least 100ms is wanted");
         }},
        {{"max_runs", shape::one, "N", "Of the sessions that a server lists, watch the newest N",
          std::to_string(initial.max_runs)},
         [](watch_config& to, const given& v) {
             const auto most = v.count();
             if (most == 0 || most > 100'000)
                 v.refuse("expected a number from 1 to 100000");
             to.max_runs = static_cast<std::size_t>(most);
         }},
        {{"user", shape::one, "USER", user_help, {}},
         [](watch_config& to, const given& v) {
             to.user = v.field_text();
         }},
        {{"permissions", shape::one, "ask|allow|reject", "How permissions are answered that no rule names",
          "ask"},
         set_permissions},
        {{"allow",
          shape::many,
          "PERMISSION[:PATTERN]",
          "Allow this, once each time; the last rule that fits counts",
          {}},
         [](watch_config& to, const given& v) {
             v.each([&](const given& one) { to.ask_rules.push_back(rule_of(one, ask_answer::once)); });
         }},
        {{"reject", shape::many, "PERMISSION[:PATTERN]", "Reject this, as above: 'bash:git push*'", {}},
         [](watch_config& to, const given& v) {
             v.each([&](const given& one) { to.ask_rules.push_back(rule_of(one, ask_answer::reject)); });
         }},
        {{"rules", shape::file, {}, {}, {}},
         [](watch_config& to, const given& v) {
             v.each([&](const given& one) { to.ask_rules.push_back(rule_of(one)); });
         }},
        {{"ask_timeout", shape::one, "DURATION",
          "An ask that waits longer is answered for its owner; 0: never",
          format_duration(initial.ask_timeout)},
         [](watch_config& to, const given& v) {
             to.ask_timeout = v.duration();
         }},
        {{"ask_default", shape::one, "once|always|reject", "By this, then; a question is rejected",
          initial.ask_default},
         [](watch_config& to, const given& v) {
             to.ask_default = to_string(v.word<ask_answer>({{"once", ask_answer::once},
                                                            {"always", ask_answer::always},
                                                            {"reject", ask_answer::reject}}));
         }},
        {{"turn_deadline", shape::one, "DURATION", "Abort a turn that takes longer; 0: never", "0"},
         [](watch_config& to, const given& v) {
             to.limits.deadline = v.duration();
         }},
        {{"turn_no_progress", shape::one, "DURATION",
          "Abort a turn that tells nothing new for so long; 0: never", "0"},
         [](watch_config& to, const given& v) {
             to.limits.no_progress = v.duration();
         }},
        {{"turn_tokens", shape::one, "N", "Abort a turn that uses more tokens; 0: never", "0"},
         [](watch_config& to, const given& v) {
             to.limits.tokens = v.count();
         }},
        {{"turn_cost", shape::one, "DOLLARS", "Abort a turn that costs more; 0: never", "0"},
         [](watch_config& to, const given& v) {
             to.limits.cost = v.amount();
         }},
        {{"turn_text", shape::one, "BYTES", "Keep so much of the text of a session's turns, its end; 0: all",
          std::to_string(initial.turn_text)},
         [](watch_config& to, const given& v) {
             to.turn_text = static_cast<std::size_t>(v.count());
         }},
        {{"event_bytes", shape::one, "BYTES",
          "The largest event of a stream; one that is larger ends the stream",
          std::to_string(initial.event_bytes)},
         [](watch_config& to, const given& v) {
             to.event_bytes = static_cast<std::size_t>(v.count());
             if (to.event_bytes < 4096)
                 v.refuse("at least 4096 is wanted");
         }},
        {{"capture_every", shape::one, "DURATION", "How often a session is looked at that no stream tells of",
          format_duration(initial.capture.tick)},
         [](watch_config& to, const given& v) {
             to.capture.tick = v.duration();
             if (to.capture.tick < milliseconds(100))
                 v.refuse("at least 100ms is wanted");
         }},
        {{"base_delay", shape::one, "DURATION", "Before the first retry; doubled for each further one",
          format_duration(initial.policy.base_delay)},
         [](watch_config& to, const given& v) {
             to.policy.base_delay = v.duration();
         }},
        {{"max_delay", shape::one, "DURATION",
          "The longest wait between two tries, in the first hour of an outage",
          format_duration(initial.policy.max_delay)},
         [](watch_config& to, const given& v) {
             to.policy.max_delay = v.duration();
         }},
        {{"max_attempts", shape::one, "N|unlimited", "Retries of a stream after the first failure",
          "unlimited"},
         [](watch_config& to, const given& v) {
             to.policy.max_attempts = v.attempts();
         }},
        {{"jitter", shape::one, "none|equal|full", "How delays are spread", "equal"},
         [](watch_config& to, const given& v) {
             to.policy.jitter = v.word<retry::jitter>({{"none", retry::jitter::none},
                                                       {"equal", retry::jitter::equal},
                                                       {"full", retry::jitter::full}});
         }},
        {{"stall_timeout", shape::one, "DURATION", "Without a byte for so long, connect again; 0: never",
          format_duration(initial.stall_timeout)},
         [](watch_config& to, const given& v) {
             to.stall_timeout = v.duration();
         }},
        {{"cacert", shape::one, "PEM", "Trust these authorities instead of the system's", {}},
         [](watch_config& to, const given& v) {
             to.tls.ca_file = v.text();
         }},
        {{"cert", shape::one, "PEM", "Show this certificate, with its chain", {}},
         [](watch_config& to, const given& v) {
             to.tls.certificate_file = v.text();
         }},
        {{"key", shape::one, "PEM", "The certificate's key; else it is in the same file", {}},
         [](watch_config& to, const given& v) {
             to.tls.key_file = v.text();
         }},
        {{"insecure",
          shape::flag,
          {},
          "Accept any certificate: whoever is on the way can read and change everything",
          {}},
         [](watch_config& to, const given& v) {
             to.tls.dangerously_accept_any_certificate = v.flag();
         }},
        {{"listen",
          shape::one,
          "HOST:PORT",
          "Tell it on HTTP too: /status /metrics /events /livez /readyz",
          {}},
         set_listen},
        {{"token_file",
          shape::one,
          "FILE",
          "The token that the port asks for; else HOLDFAST_WATCH_TOKEN",
          {}},
         [](watch_config& to, const given& v) {
             to.token_file = v.text();
         }},
        {{"host", shape::many, "NAME", "A further name by which the port may be asked", {}},
         [](watch_config& to, const given& v) {
             v.each([&](const given& one) { to.hosts.push_back(one.text()); });
         }},
        {{"abort_on_exit", shape::flag, {}, "Abort the turns that run when a signal asks for the end", {}},
         [](watch_config& to, const given& v) {
             to.abort_on_exit = v.flag();
         }},
        {{"for", shape::one, "DURATION", "End by itself after so long; 0: never", "0"},
         [](watch_config& to, const given& v) {
             to.run_for = v.duration();
         }},
    };
    return all;
}

// In the file, what is a list has a list's name; but for verbs, which read well for one and many.
std::string key_in_file(std::string_view key) {
    if (key == "server" || key == "session" || key == "host")
        return std::string(key) + 's';
    return std::string(key);
}

void apply(const std::vector<given_setting>& flags, watch_config& to) {
    for (const auto& one : flags)
        for (const auto& each : settings())
            if (each.info.key == one.key)
                each.set(to, given(one.value, flag_of(one.key), true));
}

void apply(const json::object& file, watch_config& to) {
    for (const auto& [key, value] : file) {
        const auto known = std::find_if(settings().begin(), settings().end(), [&](const setting& each) {
            return key_in_file(each.info.key) == key;
        });
        if (known == settings().end())
            refuse(std::string(key), "there is no such key");
        known->set(to, given(value, std::string(key)));
    }
}

} // namespace

watch_config::watch_config() {
    policy = opencode::server_policy();
    policy.max_attempts = retry::unlimited;
    policy.stretches = retry::long_outage_stretches();
    capture.retry.jitter = retry::jitter::equal;
    capture.retry.stretches = retry::long_outage_stretches();
}

std::vector<setting_info> watch_settings() {
    std::vector<setting_info> all;
    for (const auto& each : settings())
        all.push_back(each.info);
    return all;
}

std::string flag_of(std::string_view key) {
    std::string flag = "--" + std::string(key);
    std::replace(flag.begin(), flag.end(), '_', '-');
    return flag;
}

std::string apply_file(std::string_view text, const std::string& name, watch_config& to) {
    if (text.size() > most_config_bytes)
        return name + ": larger than " + std::to_string(most_config_bytes >> 20) + " MiB";
    json::error_code malformed;
    json::parse_options limits;
    limits.max_depth = 16; // what there is to set takes 3
    const auto parsed = json::parse(text, malformed, {}, limits);
    if (malformed == json::error::too_deep)
        return name + ": nested deeper than " + std::to_string(limits.max_depth) + " levels";
    if (malformed)
        return name + ": not JSON: " + malformed.message();
    if (!parsed.is_object())
        return name + ": an object is wanted, not " + std::string(kind_of(parsed));
    try {
        apply(parsed.get_object(), to);
    } catch (const refusal& wrong) {
        return name + ": " + wrong.why;
    }
    return {};
}

std::string apply_flags(const std::vector<given_setting>& flags, watch_config& to) {
    try {
        apply(flags, to);
    } catch (const refusal& wrong) {
        return wrong.why;
    }
    return {};
}

std::string complete(watch_config& config) {
    if (config.servers.empty()) {
        config.servers.emplace_back();
        config.servers.back().url = *http::parse_url("http://127.0.0.1:4096");
    }
    const bool named_for_all = !config.sessions.empty();
    for (auto& each : config.servers)
        if (!each.discover)
            each.discover = config.discover || (each.sessions.empty() && !named_for_all);
    for (std::size_t i = 0; i < config.servers.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
            if (config.servers[i].url.where == config.servers[j].url.where &&
                config.servers[i].url.target == config.servers[j].url.target)
                return "the server " + config.servers[i].url.redacted() + " is named twice";
    const bool tls_given = !config.tls.ca_file.empty() || !config.tls.certificate_file.empty() ||
                           config.tls.dangerously_accept_any_certificate;
    const bool tls_used =
        std::any_of(config.servers.begin(), config.servers.end(),
                    [](const watched_server& each) { return each.url.where.scheme == "https"; });
    if (tls_given && !tls_used)
        return "--cacert, --cert and --insecure are for https:// URLs";
    return {};
}

} // namespace holdfast::app
