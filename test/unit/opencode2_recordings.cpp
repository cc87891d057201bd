#include <boost/test/unit_test.hpp>

#include "support/recorded_turns.hpp"

#include <holdfast/opencode/protocol/v2/event.hpp>

#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

using namespace holdfast;
using namespace holdfast::opencode;

namespace {

std::string in_one_line(const std::vector<std::string>& lines) {
    std::string text;
    for (const auto& line : lines)
        text += (text.empty() ? "" : "; ") + line;
    return text;
}

std::string trimmed(std::string text) {
    text.erase(text.find_last_not_of(' ') + 1);
    return text.erase(0, text.find_first_not_of(' '));
}

/// By recording, from expected.txt.
std::map<std::string, std::string> expectations() {
    std::map<std::string, std::string> all;
    std::istringstream in(test::read_file(test::data_folder() / "opencode2" / "expected.txt"));
    for (std::string line; std::getline(in, line);)
        if (const auto colon = line.find(':'); !line.starts_with('#') && colon != std::string::npos)
            all[line.substr(0, colon)] = trimmed(line.substr(colon + 1, line.find('|') - colon - 1));
    return all;
}

} // namespace

BOOST_AUTO_TEST_CASE(every_recording_of_2_x_is_in_the_table) {
    const auto expected = expectations();
    for (const auto& path : test::recordings_of_2())
        BOOST_TEST(expected.contains(path.stem().string()), path.stem());
    BOOST_TEST(expected.size() == test::recordings_of_2().size());
}

BOOST_AUTO_TEST_CASE(every_recorded_turn_of_2_x_ends_as_the_description_says) {
    const auto expected = expectations();
    for (const auto& path : test::recordings_of_2())
        BOOST_TEST(in_one_line(test::summary(test::turns_of(path))) == expected.at(path.stem().string()),
                   path.stem() << ": " << in_one_line(test::summary(test::turns_of(path))));
}

BOOST_AUTO_TEST_CASE(each_part_is_told_whole_and_once_by_message_kind_and_ordinal) {
    std::size_t parts = 0;
    for (const auto& path : test::recordings_of_2()) {
        std::map<std::string, std::string> told;
        for (const auto& row : test::turns_of(path).rows) {
            if (const auto* t = std::get_if<text_event>(&row.event))
                told[t->part] += t->delta;
            if (const auto* t = std::get_if<reasoning_event>(&row.event))
                told[t->part] += t->delta;
        }
        for (const auto& data : test::recorded_data(path))
            if (const auto e = v2::parse_event(data))
                if (const auto* end = std::get_if<v2::part_ended>(&e->what);
                    end && told.contains(to_string(end->part))) {
                    BOOST_TEST(told[to_string(end->part)] == end->text, path.stem());
                    ++parts;
                }
    }
    BOOST_TEST(parts > 70u);
}

BOOST_AUTO_TEST_CASE(nothing_of_a_turn_of_2_x_comes_after_its_settlement) {
    for (const auto& path : test::recordings_of_2()) {
        std::set<std::string> settled;
        for (const auto& row : test::turns_of(path).rows) {
            BOOST_TEST(!settled.contains(row.message), path.stem());
            if (std::holds_alternative<settlement>(row.event))
                settled.insert(row.message);
        }
    }
}

BOOST_AUTO_TEST_CASE(a_childs_permission_is_told_to_its_roots_turn_in_2_x) {
    const auto r = test::turns_of(test::data_folder() / "opencode2" / "71-subagent-permission.sse");
    std::vector<std::string> replies;
    for (const auto& row : r.rows) {
        BOOST_TEST(test::tail(row.message) == "z5NUo");
        if (const auto* p = std::get_if<permission_event>(&row.event)) {
            BOOST_TEST(p->request.session_id != row.session);
            replies.push_back(p->reply.value_or("waits"));
        }
    }
    BOOST_TEST(replies == (std::vector<std::string>{"waits", "once"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(an_approval_of_an_interrupted_session_is_withdrawn) {
    for (const auto* name :
         {"25-interrupt-while-permission-pending", "26-interrupt-while-question-pending"}) {
        std::vector<std::string> replies;
        for (const auto& row :
             test::turns_of(test::data_folder() / "opencode2" / (std::string(name) + ".sse")).rows) {
            if (const auto* p = std::get_if<permission_event>(&row.event))
                replies.push_back(p->reply.value_or("waits"));
            if (const auto* q = std::get_if<question_event>(&row.event))
                replies.push_back(q->reply.value_or("waits"));
        }
        BOOST_TEST_REQUIRE(replies.size() == 2u, name);
        BOOST_TEST(replies.front() == "waits");
        BOOST_TEST(replies.back() == (name[1] == '5' ? "withdrawn" : "rejected"));
    }
}

BOOST_AUTO_TEST_CASE(the_tools_retries_and_usage_of_a_turn_are_told) {
    std::string story;
    for (const char* name : {"04-tool-read.sse", "52-model-500-once-recovers.sse"})
        for (const auto& row : test::turns_of(test::data_folder() / "opencode2" / name).rows) {
            if (const auto* t = std::get_if<tool_event>(&row.event))
                story += t->name + ' ' + t->state + "; ";
            if (const auto* t = std::get_if<retry_event>(&row.event))
                story += "retry " + std::to_string(t->attempt) + "; ";
            if (const auto* s = std::get_if<settlement>(&row.event))
                story += std::to_string(s->usage.steps) + " steps, " + s->text + "; ";
        }
    BOOST_TEST(
        story ==
        "read pending; read running; read completed; 2 steps, I read it.; retry 2; 1 steps, Recovered.; ");
}

BOOST_AUTO_TEST_CASE(an_odd_event_in_a_recording_of_2_x_is_passed_over) {
    opencode::recording r;
    for (const char* data : {R"({"type":"session.execution.started","data":{"sessionID":"ses_1"}})", "{",
                             "[]", "5", R"({"type":"session.step.started","data":{"sessionID":"ses_1"}})"})
        r.feed(data);
    BOOST_TEST(r.take_rows().empty());
    BOOST_TEST(r.needs_check().empty());
}
