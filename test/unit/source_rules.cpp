// Rules that hold over the project's own sources: coroutine patterns that g++ 12 miscompiles, and what the
// library must not take from the world behind its runtime's back.
#include <boost/test/unit_test.hpp>

#include "support/paths.hpp"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fs = std::filesystem;

namespace {

const fs::path root = holdfast::test::data_folder().parent_path().parent_path();

struct source {
    std::string name; ///< relative to the root
    std::string code; ///< without comments and what literals hold
};

// Code without comments, and with empty literals: the rules are about neither.
std::string strip(std::string_view text) {
    std::string code;
    std::size_t at = 0;
    auto skip_to = [&](std::string_view end) {
        const auto found = text.find(end, at);
        at = found == std::string_view::npos ? text.size() : found + end.size();
    };
    while (at < text.size()) {
        const auto rest = text.substr(at);
        if (rest.starts_with("//")) {
            at = std::min(text.find('\n', at), text.size());
        } else if (rest.starts_with("/*")) {
            skip_to("*/");
        } else if (rest.starts_with("R\"")) {
            const auto open = rest.find('(');
            skip_to(')' + std::string(rest.substr(2, open - 2)) + '"');
            code += "\"\"";
        } else if (rest[0] == '"' ||
                   (rest[0] == '\'' &&
                    (code.empty() || !std::isdigit(static_cast<unsigned char>(code.back()))))) {
            const char quote = rest[0];
            for (++at; at < text.size() && text[at] != quote; ++at)
                at += text[at] == '\\' ? 1 : 0;
            ++at;
            code += std::string(2, quote);
        } else {
            code += text[at++];
        }
    }
    return code;
}

std::vector<source> read_sources() {
    std::vector<source> all;
    for (const char* folder : {"lib", "apps", "test"}) {
        for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
            const auto extension = entry.path().extension();
            if (!entry.is_regular_file() || (extension != ".cpp" && extension != ".hpp"))
                continue;
            std::ifstream file(entry.path(), std::ios::binary);
            const std::string text(std::istreambuf_iterator<char>(file), {});
            all.push_back({fs::relative(entry.path(), root).generic_string(), strip(text)});
        }
    }
    return all;
}

std::vector<source> sources_under(const std::vector<std::string>& folders) {
    static const auto all = read_sources();
    std::vector<source> some;
    for (const auto& folder : folders)
        std::copy_if(all.begin(), all.end(), std::back_inserter(some),
                     [&](const source& each) { return each.name.starts_with(folder + '/'); });
    return some;
}

std::vector<std::string> statements(const std::string& code) {
    std::vector<std::string> all;
    for (std::size_t begin = 0; begin < code.size();) {
        const auto end = std::min(code.find(';', begin), code.size());
        all.push_back(code.substr(begin, end - begin));
        begin = end + 1;
    }
    return all;
}

// One line, one blank for each gap.
std::string flat(const std::string& text) {
    std::string line = std::regex_replace(text, std::regex("\\s+"), " ");
    return line.substr(0, 300);
}

struct rule {
    const char* why;
    std::regex what;
};

// What g++ 12 compiles into a crash when it stands in one expression with an await.
const std::vector<rule>& traps() {
    static const std::vector<rule> list{
        {"a lambda with captures", std::regex(R"(co_await[^;]*\[[^\]&][^\]]*\]\s*(\(|\{|->|mutable))")},
        // "{}" is left alone: it mostly stands for an empty string, which is harmless.
        {"a braced argument", std::regex(R"(co_await[^;]*[(,]\s*\{\s*[^}\s])")},
        {"an aggregate temporary", std::regex(R"(co_await[^;{]*[(,]\s*[A-Za-z_][\w:]*\s*\{)")},
        {"a conditional operator with an await", std::regex(R"(\?[^;]*co_await)")},
        {"a conditional operator as an argument", std::regex(R"(co_await[^;]*[(,][^;()]*\?[^;]*:)")},
        {"a member of what is awaited, in a condition",
         std::regex(R"(\b(if|while|for|switch)\s*\([^;{]*\(\s*co_await[^;{]*\)\s*(\.|->)\s*\w)")},
    };
    return list;
}

const char* trap_in(const std::string& statement) {
    if (statement.find("co_await") == std::string::npos)
        return nullptr;
    for (const auto& each : traps())
        if (std::regex_search(statement, each.what))
            return each.why;
    return nullptr;
}

std::string text_of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// What a reader sees of a page, in lower case.
std::string plain(const std::string& page) {
    auto text = std::regex_replace(page, std::regex("[`*]"), "");
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

/// The text below the heading "## NUMBER. ..." of a page, in one line.
std::string section_of(const std::string& page, char number) {
    const auto begin = page.find(std::string("\n## ") + number + ". ");
    if (begin == std::string::npos)
        return {};
    const auto text = page.substr(begin, page.find("\n## ", begin + 1) - begin);
    return std::regex_replace(text, std::regex("\\s+"), " ");
}

/// The citations in a judge's tables, such as "4: several prompts: the first streams; 8: #21524", one by one
/// as their section and words.
std::vector<std::pair<char, std::string>> citations_in(const std::string& code) {
    static const std::regex citation(R"re("([0-9]: [^"]+)")re");
    std::vector<std::pair<char, std::string>> all;
    for (auto it = std::sregex_iterator(code.begin(), code.end(), citation); it != std::sregex_iterator();
         ++it) {
        char section = 0;
        std::istringstream parts(std::regex_replace((*it)[1].str(), std::regex("; *"), "\n"));
        for (std::string part; std::getline(parts, part);) {
            if (part.size() > 3 && part.substr(1, 2) == ": ") {
                section = part[0];
                part.erase(0, 3);
            }
            std::istringstream words(std::regex_replace(part, std::regex(": *"), "\n"));
            for (std::string each; std::getline(words, each);)
                all.emplace_back(section, each);
        }
    }
    return all;
}

void check_citations(const char* judge, const char* wire) {
    const auto page = plain(text_of(root / wire));
    const auto cited = citations_in(text_of(root / judge));
    BOOST_TEST(cited.size() > 20u);
    for (const auto& [section, words] : cited)
        BOOST_TEST((section_of(page, section).find(plain(words)) != std::string::npos),
                   wire << ": section " << section << " has no row \"" << words << '"');
}

/// The project's own pages.
std::vector<fs::path> pages() {
    std::vector<fs::path> all{root / "README.md"};
    for (const char* folder : {"lib", "apps", "test"})
        for (const auto& entry : fs::recursive_directory_iterator(root / folder))
            if (entry.path().filename() == "README.md")
                all.push_back(entry.path());
    return all;
}

// Statements that only look like a trap, as they begin.
const std::set<std::pair<std::string, std::string>> false_alarms{};

} // namespace

BOOST_AUTO_TEST_CASE(the_trap_finder_finds_the_known_traps) {
    for (const char* bad :
         {"co_await f(Opts{1, 2})", "co_await f({.url = u})", "co_await [x]() -> awaitable<void> {}()",
          "co_await co_spawn(ex, [x] { return x", "auto t = c ? co_await a() : co_await b()",
          "co_await f(c ? a : b)", "co_await f(one, {two})",
          "if ((co_await state).cancelled() != none) throw 1", "while ((co_await next())->good()) {"})
        BOOST_TEST(trap_in(bad) != nullptr, bad);
    for (const char* good :
         {"co_await f(a, b)", "while (auto item = co_await source.next()) {",
          "auto op = [x]() -> awaitable<void> { co_await go()", "const auto [ec, n] = co_await read(b)",
          "co_return co_await std::move(op)", "co_await timer.async_wait(as_tuple(use_awaitable))",
          "if (!co_await find()) co_return false", "f(co_await a(), co_await b())",
          "const auto n = (co_await text()).size()"})
        BOOST_TEST(trap_in(good) == nullptr, good << ": " << (trap_in(good) ? trap_in(good) : ""));
}

BOOST_AUTO_TEST_CASE(no_coroutine_holds_a_pattern_that_the_compiler_gets_wrong) {
    const auto all = sources_under({"lib", "apps", "test"});
    BOOST_TEST(all.size() > 50u);
    for (const auto& each : all)
        for (const auto& statement : statements(each.code)) {
            const char* const why = trap_in(statement);
            if (!why)
                continue;
            const auto line = flat(statement);
            const bool known = std::any_of(false_alarms.begin(), false_alarms.end(), [&](const auto& alarm) {
                return alarm.first == each.name && line.find(alarm.second) != std::string::npos;
            });
            BOOST_TEST(known, each.name << ": " << why << ": " << line);
        }
}

namespace {

// Names of awaitable functions that return a result, and mean nothing else elsewhere.
const std::regex& ignored_result() {
    static const std::regex what(
        R"(^[\s{}]*co_await\s[\w.\->()*]*\b(abort|reply_permission|reply_question|reject_question|create_session|)"
        R"(open_session|delete_session|prompt_async|dispose|health|ready|get_session|get_message|list_sessions)\s*\()");
    return what;
}

} // namespace

// A compiler warns of an ignored result; g++ 12 not behind a co_await.
BOOST_AUTO_TEST_CASE(no_result_is_ignored_behind_an_await) {
    BOOST_TEST(std::regex_search(" {\n co_await turn.abort()", ignored_result()));
    BOOST_TEST(!std::regex_search(" (void)co_await turn.abort()", ignored_result()));
    BOOST_TEST(!std::regex_search("const auto done = co_await turn.abort()", ignored_result()));
    for (const auto& each : sources_under({"lib", "apps", "test"}))
        for (const auto& statement : statements(each.code))
            if (statement.find("co_await") != std::string::npos)
                BOOST_TEST(!std::regex_search(statement, ignored_result()),
                           each.name << ": a result is ignored: " << flat(statement));
}

BOOST_AUTO_TEST_CASE(the_library_takes_nothing_from_the_world_but_through_its_runtime) {
    const std::vector<std::string> forbidden{"steady_clock::now",
                                             "system_clock::now",
                                             "high_resolution_clock",
                                             "clock_gettime",
                                             "gettimeofday",
                                             "std::time(",
                                             "steady_timer",
                                             "system_timer",
                                             "ip::tcp",
                                             "ip::udp",
                                             "getaddrinfo",
                                             "random_device",
                                             "std::rand(",
                                             "std::cout",
                                             "std::cerr",
                                             "std::clog",
                                             "printf(",
                                             "fprintf(",
                                             "puts(",
                                             "fputs(",
                                             "fwrite(",
                                             "this_thread::",
                                             "std::thread",
                                             "std::jthread",
                                             "getenv(",
                                             "fopen(",
                                             "::open(",
                                             "std::ifstream",
                                             "std::ofstream",
                                             "std::fstream",
                                             "net::detached",
                                             "asio::detached"};
    auto continues_a_name = [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
    };
    for (const auto& each : sources_under({"lib"})) {
        if (each.name.starts_with("lib/holdfast/runtime/"))
            continue;
        for (const auto& word : forbidden)
            for (auto at = each.code.find(word); at != std::string::npos; at = each.code.find(word, at + 1))
                if (at == 0 || !continues_a_name(each.code[at - 1]))
                    BOOST_ERROR(each.name + " uses " + word);
    }
}

BOOST_AUTO_TEST_CASE(nobody_includes_a_whole_library) {
    // Literals are stripped; what is included in angle brackets is not. A user may: the README's example
    // does.
    for (const auto& each : sources_under({"lib", "apps", "test"})) {
        if (each.name == "test/consumers/readme_example.cpp")
            continue;
        for (const char* whole :
             {"<boost/asio.hpp>", "<boost/beast.hpp>", "<boost/json/src.hpp>",
              "<boost/asio/experimental/awaitable_operators.hpp>", "<boost/test/included/unit_test.hpp>"})
            BOOST_TEST(each.code.find(whole) == std::string::npos, each.name << " includes " << whole);
    }
}

BOOST_AUTO_TEST_CASE(the_pure_rooms_need_no_asio) {
    for (const auto& each : sources_under({"lib/holdfast/sse", "lib/holdfast/retry"}))
        BOOST_TEST(each.code.find("boost/asio") == std::string::npos, each.name);
}

BOOST_AUTO_TEST_CASE(what_a_rule_of_a_judge_cites_stands_in_the_page_of_its_protocol) {
    check_citations("lib/holdfast/opencode/ledger/judge.cpp", "lib/holdfast/opencode/protocol/README.md");
    check_citations("lib/holdfast/opencode/protocol/v2/judge.cpp",
                    "lib/holdfast/opencode/protocol/v2/WIRE.md");
}

// One word for one thing: what these said has another name now.
BOOST_AUTO_TEST_CASE(words_that_were_replaced_do_not_come_back) {
    const std::vector<std::pair<const char*, const char*>> replaced{
        {"pass_gate", "begin_attempt"},    {"gate_of", "breaker_of"},
        {"gate_state", "breaker_state"},   {"ridden", "shared failure"},
        {"gate_rides", "shared_failures"}, {"retry::gate", "endpoint_breaker"},
        {"suspect_by", "open_by"},
    };
    for (const auto& each : sources_under({"lib", "apps", "test"}))
        for (const auto& [word, instead] : replaced)
            if (each.code.find(word) != std::string::npos)
                BOOST_ERROR(each.name + ": " + word + " is called " + instead + " now");
}

BOOST_AUTO_TEST_CASE(every_link_of_a_page_leads_to_a_file) {
    static const std::regex link(R"(\]\(([^)#:]+)(#[^)]*)?\))");
    std::size_t links = 0;
    for (const auto& page : pages()) {
        const auto text = text_of(page);
        for (auto it = std::sregex_iterator(text.begin(), text.end(), link); it != std::sregex_iterator();
             ++it, ++links)
            BOOST_TEST(fs::exists(page.parent_path() / (*it)[1].str()),
                       fs::relative(page, root).string() << " links to " << (*it)[1].str());
    }
    BOOST_TEST(links > 50u);
}

BOOST_AUTO_TEST_CASE(every_file_that_the_page_of_the_library_names_is_there) {
    static const std::regex name("`([a-z_]+/[a-z_/]+[.]cpp)`");
    const auto text = text_of(root / "lib/holdfast/README.md");
    std::size_t names = 0;
    for (auto it = std::sregex_iterator(text.begin(), text.end(), name); it != std::sregex_iterator();
         ++it, ++names)
        BOOST_TEST(fs::exists(root / "lib/holdfast" / (*it)[1].str()), (*it)[1].str());
    BOOST_TEST(names > 10u);
}
