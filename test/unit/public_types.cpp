// The structs of the public headers: what a caller builds must be no aggregate with a destructor, whose
// temporaries g++ 12 destroys twice beside a co_await. Each struct of those headers is listed here.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"
#include "support/paths.hpp"

#include <holdfast/http/cookies.hpp>
#include <holdfast/http/redirect.hpp>
#include <holdfast/opencode/event.hpp>
#include <holdfast/opencode/recording.hpp>
#include <holdfast/opencode/server.hpp>
#include <holdfast/retry/pace.hpp>
#include <holdfast/stream/inflate.hpp>
#include <holdfast/testing/opencode_sim.hpp>
#include <holdfast/testing/sim_host.hpp>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace fs = std::filesystem;
using namespace holdfast;

namespace {

struct listed {
    std::string_view name;
    bool is_a_trap; ///< an aggregate with a destructor
};

#define LISTED(type) {#type, std::is_aggregate_v<type> && !std::is_trivially_destructible_v<type>}

const listed built_by_callers[] = {LISTED(holdfast::endpoint),
                                   LISTED(holdfast::header),
                                   LISTED(retry::failure),
                                   LISTED(retry::incident_limits),
                                   LISTED(retry::connect_limits),
                                   LISTED(retry::retry_allowance),
                                   LISTED(retry::log_record),
                                   LISTED(retry::policy),
                                   LISTED(retry::status_rules),
                                   LISTED(retry::stretch),
                                   LISTED(holdfast::shared_limits),
                                   LISTED(sse::limits),
                                   LISTED(sse::options),
                                   LISTED(sse::event),
                                   LISTED(http::tls_options),
                                   LISTED(http::deadlines),
                                   LISTED(http::transport),
                                   LISTED(http::request),
                                   LISTED(http::response),
                                   LISTED(http::response_head),
                                   LISTED(http::response_limits),
                                   LISTED(http::proxy_rules),
                                   LISTED(http::url),
                                   LISTED(http::cookie_limits),
                                   LISTED(stream::location),
                                   LISTED(stream::inflate_limits),
                                   LISTED(stream::source_config),
                                   LISTED(stream::item),
                                   LISTED(stream::source_statistics),
                                   LISTED(stream::routing),
                                   LISTED(stream::hub_config),
                                   LISTED(opencode::body_limits),
                                   LISTED(opencode::client_config),
                                   LISTED(opencode::server_info),
                                   LISTED(opencode::server_identity),
                                   LISTED(opencode::session_query),
                                   LISTED(opencode::session_list),
                                   LISTED(opencode::session_request),
                                   LISTED(opencode::prompt_part),
                                   LISTED(opencode::prompt),
                                   LISTED(opencode::message_page),
                                   LISTED(opencode::snapshot),
                                   LISTED(opencode::tracker_options),
                                   LISTED(opencode::capture_config),
                                   LISTED(opencode::server_config),
                                   LISTED(opencode::session_view),
                                   LISTED(opencode::turn_limits),
                                   LISTED(opencode::ask_rule),
                                   LISTED(testing::fault),
                                   LISTED(testing::opencode_sim::options),
                                   LISTED(testing::memory_network::harm),
                                   LISTED(runtime::breaker_state),
                                   LISTED(holdfast::metric_info)};

/// What the library makes and a caller only receives: nothing of it is built in an expression with a
/// co_await.
const std::set<std::string> only_received{
    // what a server said
    "api_error", "token_usage", "session_info", "session_status", "message_info", "part", "message",
    "permission_request", "question_option", "question", "question_request", "event_head", "server_connected",
    "server_heartbeat", "instance_disposed", "session_created", "session_updated", "session_deleted",
    "status_changed", "session_idle", "session_error", "session_compacted", "message_updated",
    "message_removed", "part_updated", "part_delta", "part_removed", "permission_asked", "permission_replied",
    "question_asked", "question_answered", "other_event",
    // what a turn tells
    "text_event", "reasoning_event", "tool_event", "permission_event", "question_event", "retry_event",
    "usage_event", "quiet_event", "interrupted_event", "gap_event", "settlement_error", "settlement",
    "session_event",
    // what recordings and pure parts answer
    "recorded_row", "recorded_check", "part_record", "message_record", "decision", "answer", "reservation",
    "grant", "place", "mark", "output", "pending_check", "verdict", "last_failure", "root_session", "life",
    "turn_usage", "body_framing", "call_places", "said_part", "turn_truth", "counters"};

/// A header that is not for users begins by saying so, and is not installed.
bool is_for_users(const std::string& text) {
    return text.substr(0, text.find("#pragma once")).find("Not for users.") == std::string::npos;
}

/// The names of a header's public structs; what is private or only declared does not count.
std::vector<std::string> structs_of(const std::string& text) {
    std::vector<std::string> all;
    bool is_private = false;
    std::size_t begin = 0;
    while (begin < text.size()) {
        const auto end = std::min(text.find('\n', begin), text.size());
        const auto line = text.substr(begin, end - begin);
        begin = end + 1;
        if (line == "private:")
            is_private = true;
        else if (line == "public:" || line == "};")
            is_private = false;
        std::smatch found;
        static const std::regex a_struct(R"(^ *struct (\w+)(?: final)?(?: :[^{]*)? \{.*)");
        if (!is_private && std::regex_match(line, found, a_struct))
            all.push_back(found[1]);
    }
    return all;
}

net::awaitable<std::string> token() {
    co_await net::post(net::use_awaitable);
    co_return "Bearer of a token that is too long for a short string";
}

} // namespace

BOOST_AUTO_TEST_CASE(what_a_caller_builds_is_no_aggregate) {
    for (const auto& each : built_by_callers)
        BOOST_TEST(!each.is_a_trap,
                   each.name << " needs a constructor: it is an aggregate with a destructor");
}

BOOST_AUTO_TEST_CASE(each_public_struct_is_listed) {
    std::set<std::string> known = only_received;
    for (const auto& each : built_by_callers)
        known.insert(std::string(each.name.substr(each.name.rfind(':') + 1)));
    const fs::path lib = test::data_folder().parent_path().parent_path() / "lib" / "holdfast";
    std::size_t found = 0;
    for (const auto& entry : fs::recursive_directory_iterator(lib)) {
        if (entry.path().extension() != ".hpp")
            continue;
        std::ifstream file(entry.path(), std::ios::binary);
        const std::string text(std::istreambuf_iterator<char>(file), {});
        if (!is_for_users(text))
            continue;
        for (const auto& name : structs_of(text)) {
            ++found;
            BOOST_TEST(known.contains(name),
                       entry.path().filename()
                           << ": struct " << name
                           << " is not listed: give it a constructor, or say that it is only received");
        }
    }
    BOOST_TEST(found > 80u);
}

// What the compiler destroyed twice while header was an aggregate.
CO_TEST_CASE(a_header_may_be_built_around_an_await, test::in_simulated_world) {
    std::vector<header> headers;
    headers.push_back({"Authorization", co_await token()});
    header named{"Authorization", co_await token()};
    headers.push_back(named);
    headers.emplace_back("Authorization", co_await token());
    const auto expected = co_await token();
    for (const auto& each : headers)
        BOOST_TEST(each.value == expected);
}
