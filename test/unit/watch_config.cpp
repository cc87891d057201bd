// What holdfast watch is to do: flags and a file become one configuration, or a clear refusal.
#include <boost/test/unit_test.hpp>

#include "watch/config.hpp"

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace holdfast;
using namespace holdfast::app;
using opencode::ask_answer;

using flags = std::vector<std::pair<std::string, std::string>>;

std::vector<given_setting> given(const flags& all) {
    std::vector<given_setting> settings;
    for (const auto& [key, value] : all)
        settings.push_back({key, boost::json::string(value)});
    return settings;
}

watch_config made(const std::string& file, const flags& all = {}) {
    watch_config config;
    BOOST_TEST(apply_file(file, "w.json", config) == "");
    BOOST_TEST(apply_flags(given(all), config) == "");
    BOOST_TEST(complete(config) == "");
    return config;
}

std::string refused(const std::string& file) {
    watch_config config;
    return apply_file(file, "w.json", config);
}

std::string refused(const flags& all) {
    watch_config config;
    const auto wrong = apply_flags(given(all), config);
    return wrong.empty() ? complete(config) : wrong;
}

} // namespace

BOOST_AUTO_TEST_CASE(without_anything_the_usual_server_is_discovered) {
    const auto config = made("{}");
    BOOST_REQUIRE(config.servers.size() == 1U);
    BOOST_TEST(config.servers[0].url.redacted() == "http://127.0.0.1:4096/");
    BOOST_TEST(*config.servers[0].discover);
}

BOOST_AUTO_TEST_CASE(streams_never_give_up_and_are_spread) {
    const auto config = made("{}");
    BOOST_TEST(config.policy.max_attempts == retry::unlimited);
    BOOST_TEST((config.policy.jitter == retry::jitter::equal));
    BOOST_TEST((config.policy.stretches == retry::long_outage_stretches()));
}

BOOST_AUTO_TEST_CASE(a_server_is_discovered_unless_sessions_are_named_or_it_says_so) {
    const auto named = made(R"({"servers": [{"url": "http://a", "sessions": ["ses_1"]}, "http://b",
                                            {"url": "http://c", "sessions": ["ses_2"], "discover": true}]})");
    BOOST_REQUIRE(named.servers.size() == 3U);
    BOOST_TEST(!*named.servers[0].discover);
    BOOST_TEST(*named.servers[1].discover);
    BOOST_TEST(*named.servers[2].discover);
    const auto by_flag = made("{}", {{"server", "http://a"}, {"session", "ses_1"}});
    BOOST_TEST(!*by_flag.servers[0].discover);
    BOOST_TEST(by_flag.sessions == std::vector<std::string>{"ses_1"});
}

BOOST_AUTO_TEST_CASE(everything_of_a_server_can_be_told_in_the_file) {
    const auto config = made(R"({"servers": [{"url": "http://h:1/p", "tag": "t", "user": "u:p", "bearer": "b",
                                              "sessions": ["s1", "s2"], "discover": false, "global_stream": true,
                                              "protocol": "2"}]})");
    const auto& server = config.servers.at(0);
    BOOST_TEST(server.url.where.port == 1);
    BOOST_TEST(server.tag == "t");
    BOOST_TEST(server.user == "u:p");
    BOOST_TEST(server.bearer == "b");
    BOOST_TEST(server.sessions.size() == 2U);
    BOOST_TEST(!*server.discover);
    BOOST_TEST(server.global_stream);
    BOOST_TEST((server.protocol == opencode::protocol::v2));
}

BOOST_AUTO_TEST_CASE(a_protocol_is_one_of_three_words) {
    const auto of = [](const std::string& word) {
        return made(R"({"servers": [{"url": "http://h", "protocol": ")" + word + "\"}]}")
            .servers.at(0)
            .protocol;
    };
    BOOST_TEST((of("auto") == opencode::protocol::automatic));
    BOOST_TEST((of("1") == opencode::protocol::v1));
    BOOST_TEST(
        (made(R"({"servers": ["http://h"]})").servers.at(0).protocol == opencode::protocol::automatic));
    BOOST_TEST(refused(R"({"servers": [{"url": "http://h", "protocol": "3"}]})") ==
               "w.json: servers[0].protocol: 3 is none of auto|1|2");
}

BOOST_AUTO_TEST_CASE(a_flag_replaces_what_the_file_says_once_and_adds_to_its_lists) {
    const auto config = made(R"({"ask_timeout": "1m", "servers": ["http://a"], "sessions": ["s1"]})",
                             {{"ask_timeout", "5s"}, {"server", "http://b"}, {"session", "s2"}});
    BOOST_TEST((config.ask_timeout == seconds(5)));
    BOOST_TEST(config.servers.size() == 2U);
    BOOST_TEST(config.sessions == (std::vector<std::string>{"s1", "s2"}));
}

BOOST_AUTO_TEST_CASE(durations_are_words_or_seconds) {
    BOOST_TEST((made(R"({"turn_deadline": "2m"})").limits.deadline == minutes(2)));
    BOOST_TEST((made(R"({"turn_deadline": 90})").limits.deadline == seconds(90)));
    BOOST_TEST((made(R"({"turn_deadline": 0.5})").limits.deadline == milliseconds(500)));
    BOOST_TEST((made("{}", {{"turn_no_progress", "90"}}).limits.no_progress == seconds(90)));
}

BOOST_AUTO_TEST_CASE(limits_of_turns_are_numbers) {
    const auto by_file = made(R"({"turn_tokens": 1000, "turn_cost": 2.5})");
    BOOST_TEST(by_file.limits.tokens == 1000U);
    BOOST_TEST(by_file.limits.cost == 2.5);
    const auto by_flag = made("{}", {{"turn_tokens", "1000"}, {"turn_cost", "2.5"}});
    BOOST_TEST((by_flag.limits == by_file.limits));
}

BOOST_AUTO_TEST_CASE(so_much_of_a_turns_text_is_kept_as_is_asked_for) {
    BOOST_TEST(made("{}").turn_text == 65'536U);
    BOOST_TEST(made(R"({"turn_text": 1000})").turn_text == 1000U);
    BOOST_TEST(made("{}", {{"turn_text", "0"}}).turn_text == 0U);
}

BOOST_AUTO_TEST_CASE(an_event_may_be_as_large_as_is_said_but_not_useless) {
    BOOST_TEST(made("{}").event_bytes == 33'554'432U);
    BOOST_TEST(made(R"({"event_bytes": 4096})").event_bytes == 4096U);
    BOOST_TEST(refused(R"({"event_bytes": 4095})").find("at least 4096 is wanted") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(rules_stand_in_the_order_in_which_they_were_given_and_after_the_general_one) {
    const auto config =
        made(R"({"rules": [{"permission": "edit", "pattern": "src/**", "depth": 1, "answer": "always"}]})",
             {{"allow", "bash:git status*"},
              {"reject", "bash:git push*"},
              {"allow", "webfetch"},
              {"permissions", "reject"}});
    const std::vector<opencode::ask_rule> wanted{{"*", "*", {}, ask_answer::reject},
                                                 {"edit", "src/**", 1, ask_answer::always},
                                                 {"bash", "git status*", {}, ask_answer::once},
                                                 {"bash", "git push*", {}, ask_answer::reject},
                                                 {"webfetch", "*", {}, ask_answer::once}};
    BOOST_TEST((config.ask_rules == wanted));
}

BOOST_AUTO_TEST_CASE(the_port_is_an_address_and_a_port) {
    const std::vector<std::pair<std::string, std::pair<std::string, unsigned short>>> rows{
        {"127.0.0.1:0", {"127.0.0.1", 0}},
        {"localhost:8080", {"localhost", 8080}},
        {"[::1]:65535", {"::1", 65535}}};
    for (const auto& [text, where] : rows) {
        const auto config = made("{}", {{"listen", text}});
        BOOST_TEST(config.listen_host == where.first, text);
        BOOST_TEST(config.listen_port == where.second, text);
    }
    for (const std::string text :
         {"8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:80", "[::1]", "h:-1", "h:1x"})
        BOOST_TEST(refused(flags{{"listen", text}}).starts_with("--listen: "), text);
}

BOOST_AUTO_TEST_CASE(a_refusal_names_the_file_and_the_path) {
    const std::vector<std::pair<std::string, std::string>> rows{
        {"[]", "w.json: an object is wanted, not a list"},
        {R"({"serves": []})", "w.json: serves: there is no such key"},
        {R"({"server": []})", "w.json: server: there is no such key"},
        {R"({"servers": {}})", "w.json: servers: a list is wanted, not an object"},
        {R"({"servers": ["http://a", 7]})", "w.json: servers[1]: an object is wanted, not a number"},
        {R"({"servers": [{"tag": "a"}]})", "w.json: servers[0]: url is missing"},
        {R"({"servers": [{"url": 7}]})", "w.json: servers[0].url: a string is wanted, not a number"},
        {R"({"servers": [{"url": "http://a", "discover": "yes"}]})",
         "w.json: servers[0].discover: true or false is wanted, not a string"},
        {R"({"servers": [{"url": "http://a", "sessions": ["x", null]}]})",
         "w.json: servers[0].sessions[1]: a string is wanted, not null"},
        {R"({"servers": [{"url": "http://a", "colour": 1}]})",
         "w.json: servers[0].colour: there is no such key"},
        {R"({"sessions": [""]})", "w.json: sessions[0]: must not be empty"},
        {R"({"rules": [{"permission": "bash"}]})", "w.json: rules[0]: answer is missing"},
        {R"({"rules": [{"answer": "maybe"}]})",
         "w.json: rules[0].answer: maybe is none of once|always|reject|ask"},
        {R"({"rules": [{"answer": "once", "depth": -1}]})",
         "w.json: rules[0].depth: a whole number is wanted"},
        {R"({"turn_tokens": "many"})", "w.json: turn_tokens: a number is wanted, not a string"},
        {R"({"turn_tokens": 1.5})", "w.json: turn_tokens: a whole number is wanted"},
        {R"({"turn_cost": -1})", "w.json: turn_cost: must not be negative"},
        {R"({"turn_deadline": true})", "w.json: turn_deadline: a duration is wanted, not true or false"},
        {R"({"jitter": "some"})", "w.json: jitter: some is none of none|equal|full"},
        {R"({"abort_on_exit": 1})", "w.json: abort_on_exit: true or false is wanted, not a number"},
        {R"({"discover_every": "1ms"})", "w.json: discover_every: at least 100ms is wanted"},
        {R"({"allow": ["bash", ":x"]})",
         "w.json: allow[1]: a rule is given as PERMISSION or PERMISSION:PATTERN"},
    };
    for (const auto& [file, why] : rows)
        BOOST_TEST(refused(file) == why);
    BOOST_TEST(refused("{").starts_with("w.json: not JSON: "));
    BOOST_TEST(refused(R"({"servers": ["ftp://a"]})").starts_with("w.json: servers[0]: "));
    BOOST_TEST(
        refused(R"({"turn_deadline": "soon"})").starts_with("w.json: turn_deadline: soon is not a duration"));
}

BOOST_AUTO_TEST_CASE(a_refusal_of_a_flag_names_the_flag) {
    BOOST_TEST(refused(flags{{"ask_timeout", "soon"}}).starts_with("--ask-timeout: soon is not a duration"));
    BOOST_TEST(refused(flags{{"turn_tokens", "x"}}) == "--turn-tokens: x is not a whole number");
    BOOST_TEST(refused(flags{{"max_attempts", "x"}}) ==
               "--max-attempts: x is not a whole number or \"unlimited\"");
    BOOST_TEST(refused(flags{{"server", "nonsense"}}).starts_with("--server: "));
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_together_is_refused) {
    BOOST_TEST(refused(flags{{"server", "http://a"}, {"server", "http://a:80/"}}) ==
               "the server http://a/ is named twice");
    BOOST_TEST(refused(flags{{"cacert", "x.pem"}}) ==
               "--cacert, --cert and --insecure are for https:// URLs");
    BOOST_TEST(refused(flags{{"cacert", "x.pem"}, {"server", "https://a"}}) == "");
}

BOOST_AUTO_TEST_CASE(every_flag_has_its_key_in_the_file) {
    std::set<std::string_view> keys;
    for (const auto& each : watch_settings()) {
        BOOST_TEST(keys.insert(each.key).second, each.key);
        const bool plural = each.key == "server" || each.key == "session" || each.key == "host";
        const auto key = std::string(each.key) + (plural ? "s" : "");
        // A null fits nowhere: that it is complained of says that the key is there.
        BOOST_TEST(refused("{\"" + key + "\": null}").find("not null") != std::string::npos, key);
    }
}
