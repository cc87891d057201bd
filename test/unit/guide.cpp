// The guide (lib/README.md) beside the sources: its snippets are those that are compiled, and its tables have
// each default, log event, metric and prompt tag, and no other.
#include <boost/test/unit_test.hpp>

#include "support/paths.hpp"

#include <holdfast/runtime/metrics.hpp>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fs = std::filesystem;

namespace {

const fs::path root = holdfast::test::data_folder().parent_path().parent_path();

std::string text_of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    BOOST_TEST_REQUIRE(in.good(), file.string());
    return {std::istreambuf_iterator<char>(in), {}};
}

const std::string& guide() {
    static const std::string text = text_of(root / "lib/README.md");
    return text;
}

/// What stands between each pair of marks, in order.
std::vector<std::string> between(const std::string& text, std::string_view begin, std::string_view end) {
    std::vector<std::string> all;
    for (auto at = text.find(begin); at != std::string::npos; at = text.find(begin, at)) {
        at += begin.size();
        const auto until = text.find(end, at);
        BOOST_TEST_REQUIRE(until != std::string::npos, "no end of " << begin);
        all.push_back(text.substr(at, until - at));
        at = until;
    }
    return all;
}

std::string without_comments(const std::string& code) {
    return std::regex_replace(code, std::regex("//[^\n]*"), "");
}

/// The text below a heading, to the next heading of the same or a higher rank.
std::string section(const std::string& heading) {
    const auto begin = guide().find("\n" + heading + "\n");
    BOOST_TEST_REQUIRE(begin != std::string::npos, heading);
    static const std::regex next("\n##? ");
    std::smatch found;
    const auto rest = guide().substr(begin + 1 + heading.size());
    return std::regex_search(rest, found, next) ? rest.substr(0, static_cast<std::size_t>(found.position()))
                                                : rest;
}

/// The first two cells of each row of a section's tables, the first without its backquotes.
std::map<std::string, std::string> rows(const std::string& heading) {
    static const std::regex row("\n\\| `([^`]+)` \\| ([^|]+) \\|");
    std::map<std::string, std::string> all;
    const auto text = section(heading);
    for (auto it = std::sregex_iterator(text.begin(), text.end(), row); it != std::sregex_iterator(); ++it)
        BOOST_TEST(all.emplace((*it)[1].str(), (*it)[2].str()).second, (*it)[1].str() << " stands twice");
    return all;
}

std::set<std::string> names(const std::map<std::string, std::string>& of) {
    std::set<std::string> all;
    for (const auto& [name, cell] : of)
        all.insert(name);
    return all;
}

/// Says which are in one alone.
void check_same(const std::set<std::string>& in_guide, const std::set<std::string>& in_code) {
    for (const auto& each : in_code)
        BOOST_TEST(in_guide.contains(each), "the guide lacks " << each);
    for (const auto& each : in_guide)
        BOOST_TEST(in_code.contains(each), "the guide names " << each << ", which is not in the code");
}

/// All that stands in backquotes in the first cells of a section's tables.
std::set<std::string> first_cells(const std::string& heading) {
    static const std::regex cell("\n\\| ([^|]+) \\|");
    static const std::regex quoted("`([^`]+)`");
    std::set<std::string> all;
    const auto text = section(heading);
    for (auto it = std::sregex_iterator(text.begin(), text.end(), cell); it != std::sregex_iterator(); ++it) {
        const auto first = (*it)[1].str();
        for (auto at = std::sregex_iterator(first.begin(), first.end(), quoted); at != std::sregex_iterator();
             ++at)
            all.insert((*at)[1].str());
    }
    return all;
}

/// The names in a list that a header closes, as an enumeration or a variant.
std::set<std::string> listed(const std::string& header, std::string_view begin, std::string_view end) {
    const auto lists = between(without_comments(text_of(root / "lib/holdfast" / header)), begin, end);
    BOOST_TEST_REQUIRE(lists.size() == 1u, begin);
    static const std::regex name("[a-z_]+");
    return {std::sregex_token_iterator(lists[0].begin(), lists[0].end(), name), {}};
}

// --- names

/// The identifiers in a text, but for very short ones.
std::set<std::string> identifiers(const std::string& text) {
    std::set<std::string> all;
    std::string word;
    for (const char c : text + ' ') {
        if (std::isalnum(static_cast<unsigned char>(c)) || c == '_') {
            word += c;
            continue;
        }
        if (word.size() > 2 && !std::isdigit(static_cast<unsigned char>(word[0])))
            all.insert(word);
        word.clear();
    }
    return all;
}

/// What the guide quotes of this library: not its snippets, and not what other libraries call it.
std::string quoted_names() {
    auto text = guide();
    const auto porting = section("## Porting");
    text.replace(text.find(porting), porting.size(),
                 std::regex_replace(porting, std::regex("\n\\| [^|]+ \\|"), "\n|"));
    for (const auto& fence : between(text, "```cpp\n", "```"))
        text.erase(text.find(fence), fence.size());
    static const std::regex quoted("`([^`\n]+)`");
    std::string all;
    for (auto it = std::sregex_iterator(text.begin(), text.end(), quoted); it != std::sregex_iterator(); ++it)
        all += (*it)[1].str() + '\n';
    return all;
}

std::set<std::string> names_in_code() {
    std::set<std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(root / "lib/holdfast"))
        if (entry.path().extension() == ".cpp" || entry.path().extension() == ".hpp")
            all.merge(identifiers(without_comments(text_of(entry.path()))));
    return all;
}

// --- log events

/// All literals in a statement's text.
void add_literals(const std::string& text, std::set<std::string>& to) {
    static const std::regex literal("\"([a-z]+[.][a-z_]+)\"");
    for (auto it = std::sregex_iterator(text.begin(), text.end(), literal); it != std::sregex_iterator();
         ++it)
        to.insert((*it)[1].str());
}

/// Names of log events, as they are given to a record or to record_of(); those of hooks are put together.
std::set<std::string> logged_in(const std::string& code) {
    static const std::regex given("([.]event = |record_of\\()[^;]*;");
    static const std::regex hook("contained\\(\"([a-z_]+)\"");
    static const std::string_view put_together = "\"stream.\" + std::string(hook) + \"_threw\"";
    std::set<std::string> all;
    for (auto it = std::sregex_iterator(code.begin(), code.end(), given); it != std::sregex_iterator(); ++it)
        add_literals(it->str(), all);
    if (code.find(put_together) != std::string::npos)
        for (auto it = std::sregex_iterator(code.begin(), code.end(), hook); it != std::sregex_iterator();
             ++it)
            all.insert("stream." + (*it)[1].str() + "_threw");
    return all;
}

std::set<std::string> logged() {
    std::set<std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(root / "lib/holdfast"))
        if (entry.path().extension() == ".cpp" || entry.path().extension() == ".hpp")
            all.merge(logged_in(without_comments(text_of(entry.path()))));
    return all;
}

// --- defaults

/// As the guide writes an initializer: "seconds(60)" is "60 s", "8u << 20" is "8 Mi" (the unit follows),
/// "retry::jitter::none" is "none".
std::string as_shown(const std::string& initializer) {
    static const std::regex call("(seconds|milliseconds|minutes)\\(\\s*([0-9]+)\\)");
    static const std::regex shift("([0-9]+)u << (10|20)");
    static const std::map<std::string, std::string> units{
        {"seconds", " s"}, {"milliseconds", " ms"}, {"minutes", " min"}, {"10", " Ki"}, {"20", " Mi"}};
    std::smatch found;
    if (std::regex_match(initializer, found, call))
        return found[2].str() + units.at(found[1].str());
    if (std::regex_match(initializer, found, shift))
        return found[1].str() + units.at(found[2].str());
    std::string text = std::regex_replace(initializer, std::regex("[a-z_]+::|[\"']"), "");
    const bool is_number = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
    if (is_number && text.size() > 3)
        text.insert(text.size() - 3, ",");
    return text;
}

bool is_shown(const std::string& cell, const std::string& initializer) {
    const auto shown = as_shown(initializer);
    const bool is_nothing = shown.empty() || shown == "0";
    if (is_nothing && cell == "none")
        return true;
    return !shown.empty() &&
           (cell == shown || (shown.ends_with('i') && (cell == shown || cell == shown + "B")));
}

/// The members of a struct of settings that have an initializer, as "struct::member".
std::map<std::string, std::string> defaults_of(const std::string& header, const std::string& name) {
    const auto bodies =
        between(without_comments(text_of(root / "lib/holdfast" / header)), "struct " + name + " {", "\n};");
    BOOST_TEST_REQUIRE(bodies.size() == 1u, header << " has no struct " << name);
    static const std::regex member("\n    [\\w:<>]+\\s(\\w+)(\\{\\}|\\s=\\s+([^;{}=]+));");
    std::map<std::string, std::string> all;
    for (auto it = std::sregex_iterator(bodies[0].begin(), bodies[0].end(), member);
         it != std::sregex_iterator(); ++it)
        all[name + "::" + (*it)[1].str()] = (*it)[3].str();
    BOOST_TEST(!all.empty(), name);
    return all;
}

std::map<std::string, std::string> defaults() {
    static const std::vector<std::pair<std::string, std::string>> settings{
        {"retry/policy.hpp", "policy"},
        {"stream/event_source.hpp", "source_config"},
        {"stream/event_hub.hpp", "hub_config"},
        {"sse/parser.hpp", "limits"},
        {"http/exchange.hpp", "deadlines"},
        {"http/response_parser.hpp", "response_limits"},
        {"http/cookies.hpp", "cookie_limits"},
        {"stream/inflate.hpp", "inflate_limits"},
        {"opencode/server.hpp", "server_config"},
        {"opencode/server.hpp", "capture_config"},
        {"opencode/turn_tracker.hpp", "tracker_options"},
        {"opencode/turn_limits.hpp", "turn_limits"},
        {"opencode/client.hpp", "body_limits"},
        {"retry/connect_limiter.hpp", "connect_limits"},
        {"retry/retry_budget.hpp", "retry_allowance"},
        {"retry/incident_log.hpp", "incident_limits"},
    };
    std::map<std::string, std::string> all;
    for (const auto& [header, name] : settings)
        all.merge(defaults_of(header, name));
    return all;
}

} // namespace

BOOST_AUTO_TEST_CASE(each_snippet_of_the_guide_is_one_that_is_compiled) {
    const auto shown = between(guide(), "```cpp\n", "```");
    const auto compiled =
        between(text_of(root / "test/consumers/guide_snippets.cpp"), "// [guide]\n", "// [/guide]");
    BOOST_TEST_REQUIRE(shown.size() == compiled.size());
    BOOST_TEST(shown.size() > 3u);
    for (std::size_t n = 0; n < shown.size(); ++n)
        BOOST_TEST(shown[n] == compiled[n]);
}

BOOST_AUTO_TEST_CASE(names_of_log_events_are_found_as_they_are_written) {
    const std::string code = R"(record.event = a ? "server.error" : "session.error";
        auto record = record_of(broken ? log_level::error : log_level::info,
                                "stream.one", "read");
        record.event = "stream." + std::string(hook) + "_threw";
        return contained("judge");
        if (type == "session.idle") other.part = "x.y";)";
    const std::set<std::string> wanted{"server.error", "session.error", "stream.one", "stream.judge_threw"};
    check_same(logged_in(code), wanted);
}

BOOST_AUTO_TEST_CASE(the_guide_has_each_log_event) {
    const auto in_code = logged();
    BOOST_TEST(in_code.size() > 30u);
    check_same(names(rows("## Log events")), in_code);
}

BOOST_AUTO_TEST_CASE(the_guide_has_each_metric_and_its_kind) {
    const auto in_guide = rows("## Metrics");
    std::set<std::string> in_code;
    for (const auto& each : holdfast::metric_table) {
        const std::string name(each.name);
        in_code.insert(name);
        const bool is_gauge = each.what == holdfast::metric_info::kind::gauge;
        if (const auto found = in_guide.find(name); found != in_guide.end())
            BOOST_TEST(found->second == (is_gauge ? "gauge" : "counter"), name);
    }
    check_same(names(in_guide), in_code);
}

BOOST_AUTO_TEST_CASE(the_guide_has_each_prompt_tag_of_the_simulated_model) {
    static const std::regex tag("\\{\"([a-z0-9-]+)\", kind::");
    const auto code = text_of(root / "lib/holdfast/testing/sim_script.cpp");
    std::set<std::string> in_code;
    for (auto it = std::sregex_iterator(code.begin(), code.end(), tag); it != std::sregex_iterator(); ++it)
        in_code.insert("#" + (*it)[1].str());
    BOOST_TEST(in_code.size() > 20u);
    check_same(names(rows("### Prompt tags")), in_code);
}

BOOST_AUTO_TEST_CASE(initializers_are_shown_as_the_guide_writes_them) {
    BOOST_TEST(is_shown("60 s", "seconds(60)"));
    BOOST_TEST(is_shown("30 s", "seconds(\n        30)"));
    BOOST_TEST(is_shown("8 MiB", "8u << 20"));
    BOOST_TEST(is_shown("1 Mi", "1u << 20"));
    BOOST_TEST(is_shown("20,000", "20'000"));
    BOOST_TEST(is_shown("none", ""));
    BOOST_TEST(is_shown("none", "0"));
    BOOST_TEST(is_shown("0", "0"));
    BOOST_TEST(is_shown("fail", "stream::oversized::fail"));
    BOOST_TEST(is_shown("reject", "\"reject\""));
    BOOST_TEST(!is_shown("6 s", "seconds(60)"));
    BOOST_TEST(!is_shown("60 s", "minutes(60)"));
    BOOST_TEST(!is_shown("8 MiB", "8u << 10"));
    BOOST_TEST(!is_shown("none", "1"));
    BOOST_TEST(!is_shown("0", ""));
}

BOOST_AUTO_TEST_CASE(the_guide_has_each_default_as_it_is) {
    const auto in_guide = rows("## Policies and defaults");
    const auto in_code = defaults();
    BOOST_TEST(in_code.size() > 70u);
    check_same(names(in_guide), names(in_code));
    for (const auto& [name, initializer] : in_code)
        if (const auto found = in_guide.find(name); found != in_guide.end())
            BOOST_TEST(is_shown(found->second, initializer),
                       name << " is " << initializer << ", and the guide says " << found->second);
}

BOOST_AUTO_TEST_CASE(the_guide_has_each_value_of_the_closed_lists) {
    check_same(first_cells("## Errors"), listed("retry/failure.hpp", "enum class failure_class {", "};"));
    check_same(first_cells("## Your first turn"), listed("opencode/agent_event.hpp", "std::variant<", ">;"));
    check_same(first_cells("## Following and captures"), [] {
        auto all = listed("opencode/server.hpp", "enum class follow_by {", "};");
        all.insert("follow_by"); // the table's head
        return all;
    }());
    auto ends = listed("opencode/agent_event.hpp", "enum class outcome {", "};");
    ends.merge(listed("opencode/agent_event.hpp", "enum class reprompt {", "}"));
    ends.insert("safe_to_reprompt"); // a table's head
    check_same(first_cells("## Settlements and reprompting"), ends);
}

// A setting or a function that is renamed is renamed here too.
BOOST_AUTO_TEST_CASE(each_name_that_the_guide_quotes_is_in_the_code) {
    const auto in_code = names_in_code();
    const std::set<std::string> others{"apps",   "embed", "main", "your_coroutine", "awaitable_operators",
                                       "channel"};
    const auto quoted = identifiers(quoted_names());
    BOOST_TEST(quoted.size() > 200u);
    for (const auto& each : quoted)
        BOOST_TEST((in_code.contains(each) || others.contains(each) || each.ends_with("_threw")),
                   "the guide quotes " << each << ", which is not in the code");
}

BOOST_AUTO_TEST_CASE(each_entry_of_the_contents_leads_to_a_heading) {
    static const std::regex entry("\\]\\(#([a-z-]+)\\)");
    static const std::regex heading("\n###? ([^\n]+)");
    std::set<std::string> anchors;
    for (auto it = std::sregex_iterator(guide().begin(), guide().end(), heading);
         it != std::sregex_iterator(); ++it) {
        std::string anchor;
        for (const char c : (*it)[1].str())
            if (c == ' ' || c == '-')
                anchor += '-';
            else if (std::isalnum(static_cast<unsigned char>(c)))
                anchor += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        anchors.insert(anchor);
    }
    std::size_t entries = 0;
    for (auto it = std::sregex_iterator(guide().begin(), guide().end(), entry); it != std::sregex_iterator();
         ++it, ++entries)
        BOOST_TEST(anchors.contains((*it)[1].str()), (*it)[1].str());
    BOOST_TEST(entries > 10u);
}
