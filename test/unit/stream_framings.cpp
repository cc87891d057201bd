// How bodies become events where they are no event streams, and the file that keeps an id.
#include <boost/test/unit_test.hpp>

#include "support/temporary_folder.hpp"

#include <holdfast/runtime/files.hpp>
#include <holdfast/stream/id_store.hpp>
#include <holdfast/stream/ndjson.hpp>

#include <sys/stat.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;

namespace {

using lines = std::vector<std::string>;

const sse::limits no_limits;

// All that is told, of pieces that are gone when the next one comes.
lines tell(const std::vector<std::string_view>& pieces, const sse::limits& bounds = no_limits,
           const sse::options& wanted = {}, bool flush = false) {
    const auto parser = stream::ndjson(bounds, wanted);
    lines all;
    const auto note = [&] {
        all.push_back(parser->what() == sse::found::skipped
                          ? "skipped " + parser->skipped().message()
                          : std::string(parser->event().type) + ' ' + std::string(parser->event().data));
    };
    for (const auto piece : pieces) {
        const auto own = std::make_unique<std::string>(piece);
        std::string_view input = *own;
        while (parser->next(input))
            note();
        if (parser->error()) {
            all.push_back("error " + parser->error().message());
            return all;
        }
        BOOST_TEST(input.empty());
    }
    if (const auto left = parser->left(); !left.empty())
        all.push_back("left " + left);
    while (flush && parser->finish())
        note();
    return all;
}

lines tell_everywhere(const std::string& text, const sse::limits& bounds = no_limits,
                      const sse::options& wanted = {}) {
    const auto whole = tell({text}, bounds, wanted);
    for (std::size_t at = 0; at <= text.size(); ++at)
        for (std::size_t then = at; then <= text.size(); ++then) {
            const std::string_view view = text;
            const auto cut =
                tell({view.substr(0, at), view.substr(at, then - at), view.substr(then)}, bounds, wanted);
            BOOST_TEST(cut == whole, "cut at " << at << " and " << then << ": " << text);
            if (cut != whole)
                return whole;
        }
    return whole;
}

void check(const lines& found, const lines& expected) {
    BOOST_TEST(found == expected, boost::test_tools::per_element());
}

sse::limits at_most(std::size_t line, std::size_t event) {
    sse::limits bounds;
    bounds.line = line;
    bounds.event = event;
    return bounds;
}

const auto line_over = error_code(errc::line_too_long).message();
const auto event_over = error_code(errc::event_too_large).message();

} // namespace

BOOST_AUTO_TEST_CASE(each_line_is_an_event_wherever_it_is_cut) {
    check(tell_everywhere("{\"a\":1}\n[2]\r\n\"\xC3\xA9\"\n"),
          {"message {\"a\":1}", "message [2]", "message \"\xC3\xA9\""});
}

BOOST_AUTO_TEST_CASE(lines_of_blanks_and_a_byte_order_mark_are_passed_over) {
    check(tell_everywhere("\xEF\xBB\xBF{}\n\n \t\r\n\r\n1\n"), {"message {}", "message 1"});
    check(tell_everywhere("\xEF\xBB{}\n\xEF\xBB\xBF\n"), {"message \xEF\xBB{}", "message \xEF\xBB\xBF"});
}

BOOST_AUTO_TEST_CASE(a_cr_within_a_line_is_a_part_of_it) {
    check(tell_everywhere("a\rb\r\r\n"), {"message a\rb\r"});
}

BOOST_AUTO_TEST_CASE(a_last_line_without_its_end_is_left_or_flushed) {
    check(tell_everywhere("1\n{\"error\":"), {"message 1", "left {\"error\":"});
    check(tell({"1\n{\"a\":", "2}\r"}, no_limits, {}, true),
          {"message 1", "left {\"a\":2}\r", "message {\"a\":2}"});
    check(tell({"1\n \t"}, no_limits, {}, true), {"message 1"});
    check(tell({std::string(300, 'x')}), {"left " + std::string(200, 'x')});
}

BOOST_AUTO_TEST_CASE(a_line_over_its_limit_is_an_error_the_same_at_every_cut) {
    check(tell_everywhere("abc\nabc\r\nabcd\nx\n", at_most(3, 9)),
          {"message abc", "message abc", "error " + line_over});
    check(tell_everywhere("abc\nabcd\n", at_most(9, 3)), {"message abc", "error " + event_over});
    check(tell_everywhere("abc\rx\n", at_most(3, 9)), {"error " + line_over});
    check(tell_everywhere("abc\r\r\n", at_most(3, 9)), {"error " + line_over});
    check(tell_everywhere("    \n", at_most(3, 9)), {"error " + line_over});
}

BOOST_AUTO_TEST_CASE(a_line_over_its_limit_is_found_with_its_first_byte_too_many) {
    check(tell({"abcd"}, at_most(3, 9)), {"error " + line_over});
    check(tell({"abc\r"}, at_most(3, 9)), {"left abc\r"});
    check(tell({"abc\r "}, at_most(3, 9)), {"error " + line_over});
}

BOOST_AUTO_TEST_CASE(a_line_over_its_limit_is_left_out_where_so_asked) {
    sse::options skipping;
    skipping.skip_oversized = true;
    check(tell_everywhere("abcd\nabcdefghij\nabc\nabcd", at_most(3, 9), skipping),
          {"skipped " + line_over, "skipped " + line_over, "message abc", "skipped " + line_over});
}

BOOST_AUTO_TEST_CASE(without_limits_a_line_is_as_long_as_it_is) {
    const auto most = static_cast<std::size_t>(-1);
    const std::string text(3u << 20, 'x');
    const auto got = tell({text, text, "\n", "y\n"}, at_most(most, most));
    BOOST_TEST_REQUIRE(got.size() == 2u);
    BOOST_TEST((got[0] == "message " + text + text));
    BOOST_TEST(got[1] == "message y");
}

BOOST_AUTO_TEST_CASE(a_new_connection_begins_with_a_new_line_and_keeps_the_id) {
    const auto parser = stream::ndjson({}, {});
    parser->last_event_id("41");
    std::string_view input = "\xEF\xBB\xBF{\"cut";
    BOOST_TEST(!parser->next(input));
    parser->reset();
    input = "\xEF\xBB\xBF{}\n";
    BOOST_TEST(parser->next(input));
    BOOST_TEST(parser->event().data == "{}");
    BOOST_TEST(parser->event().id == "41");
    BOOST_TEST(parser->last_event_id() == "41");
}

BOOST_AUTO_TEST_CASE(an_error_stays_until_the_next_connection) {
    const auto parser = stream::ndjson(at_most(1, 1), {});
    std::string_view input = "ab\nc\n";
    BOOST_TEST(!parser->next(input));
    BOOST_TEST(!parser->next(input));
    BOOST_TEST(parser->error().failed());
    BOOST_TEST(!parser->finish());
    parser->reset();
    input = "c\n";
    BOOST_TEST(parser->next(input));
}

BOOST_AUTO_TEST_CASE(json_lines_come_by_several_names) {
    for (const char* type : {"application/x-ndjson", "application/ndjson", "application/jsonl",
                             "application/x-jsonlines", "application/stream+json", "application/json"})
        BOOST_TEST(stream::is_ndjson_type(type), type);
    for (const char* type : {"", "text/event-stream", "text/html", "application/jsonlines2"})
        BOOST_TEST(!stream::is_ndjson_type(type), type);
}

// --- the file of an id

namespace {

namespace fs = std::filesystem;

std::string content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// A disk whose n-th step fails; it tells of what is there after a loss of power.
struct fragile_files final : files {
    std::map<std::string, std::string> there;
    lines steps;
    std::size_t fails_at = static_cast<std::size_t>(-1);

    result<void> step(const std::string& what) {
        steps.push_back(what);
        if (steps.size() - 1 == fails_at)
            return retry::make_failure(errc::local, "no space");
        return {};
    }
    result<std::optional<std::string>> read(const std::string& path, std::size_t) override {
        const auto found = there.find(path);
        return found == there.end() ? std::optional<std::string>() : std::optional(found->second);
    }
    result<void> create(const std::string& path, std::string_view bytes) override {
        auto done = step("create " + path);
        if (there.count(path))
            return retry::make_failure(errc::local, "it exists");
        there[path] = done ? std::string(bytes) : std::string(bytes.substr(0, 1));
        return done;
    }
    result<void> rename(const std::string& from, const std::string& to) override {
        auto done = step("rename " + from + ' ' + to);
        if (done) {
            there[to] = there.at(from);
            there.erase(from);
        }
        return done;
    }
    result<void> sync_folder_of(const std::string& path) override { return step("sync " + path); }
    void remove(const std::string& path) noexcept override { there.erase(path); }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_file_is_replaced_by_a_whole_one_and_its_folder_synced) {
    fragile_files disk;
    disk.there = {{"/d/f", "old"}, {"/d/f.tmp", "of one that died"}};
    BOOST_TEST(replace_file(disk, "/d/f", "new").has_value());
    check(disk.steps, {"create /d/f.tmp", "rename /d/f.tmp /d/f", "sync /d/f"});
    BOOST_TEST((disk.there == std::map<std::string, std::string>{{"/d/f", "new"}}));
}

BOOST_AUTO_TEST_CASE(a_step_that_fails_leaves_the_old_content_and_nothing_else) {
    for (std::size_t at = 0; at < 3; ++at) {
        fragile_files disk;
        disk.there = {{"f", "old"}};
        disk.fails_at = at;
        const auto done = replace_file(disk, "f", "new");
        BOOST_TEST(!done.has_value());
        BOOST_TEST(disk.steps.size() == at + 1);
        BOOST_TEST((disk.there == std::map<std::string, std::string>{{"f", at < 2 ? "old" : "new"}}));
    }
}

BOOST_AUTO_TEST_CASE(an_id_is_kept_in_a_file_of_its_owners_alone) {
    const test::temporary_folder here;
    const auto path = here / "id";
    const auto ids = stream::make_file_id_store(make_system_files(), path);
    BOOST_TEST(ids->load().value() == "");
    std::ofstream(path + ".tmp") << "of one that died";
    const std::string long_id(1515, 'w');
    for (const std::string& id : {"a \xC3\xA9"s, long_id, ""s, "b"s}) {
        BOOST_TEST(ids->store(id).has_value());
        BOOST_TEST(content(path) == id + '\n');
        BOOST_TEST(ids->load().value() == id);
        struct stat seen{};
        BOOST_TEST(::stat(path.c_str(), &seen) == 0);
        BOOST_TEST((seen.st_mode & 0777) == 0600u);
        BOOST_TEST(here.size() == 1u);
    }
    const auto again = stream::make_file_id_store(make_system_files(), path);
    BOOST_TEST(again->load().value() == "b");
}

BOOST_AUTO_TEST_CASE(what_is_no_file_of_an_id_is_never_taken_for_one) {
    const test::temporary_folder here;
    const auto path = here / "id";
    for (const std::string& odd : {"a\nb\n"s, "a\r\n"s, "a\0\n"s, "\n\n"s, std::string(65537, 'x')}) {
        std::ofstream(path, std::ios::binary) << odd;
        const auto held = stream::make_file_id_store(make_system_files(), path)->load();
        BOOST_TEST(!held.has_value());
        BOOST_TEST(content(path) == odd);
    }
    std::ofstream(path, std::ios::binary) << "without an end";
    BOOST_TEST(stream::make_file_id_store(make_system_files(), path)->load().value() == "without an end");
    fs::remove(path);
    fs::create_directory(path);
    const auto held = stream::make_file_id_store(make_system_files(), path)->load();
    BOOST_TEST(!held.has_value());
    fs::remove(path);
    BOOST_TEST_REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    BOOST_TEST(stream::make_file_id_store(make_system_files(), path)->load().value() == "");
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_made_is_an_error_that_names_it) {
    const test::temporary_folder here;
    const auto path = here / "none" + "/id";
    const auto done = stream::make_file_id_store(make_system_files(), path)->store("x");
    BOOST_TEST_REQUIRE(!done.has_value());
    BOOST_TEST((done.error().cls == failure_class::local));
    BOOST_TEST(done.error().message == "cannot create " + path + ".tmp: No such file or directory");
}
