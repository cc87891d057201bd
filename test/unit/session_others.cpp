// What happens in a session beside our own turns: late beginnings, others' prompts, history, and approvals
// that no turn waits for; in virtual time, against the simulated OpenCode server.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"
#include "support/held_sim.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/testing/sim_host.hpp>

#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

using namespace holdfast;
using opencode::approval_event;
using opencode::follow_by;
using opencode::permission_event;
using opencode::session_event;
using opencode::settlement;
using testing::opencode_sim;

namespace {

const endpoint here{"http", "127.0.0.1", 4096};

struct shared_server : test::held_sim {
    std::vector<session_event> fed;
    std::vector<approval_event> approvals;
    bool approvals_over = false;

    opencode::client somebody() { return opencode::client(world.rt(), base()); }

    net::awaitable<void> somebody_prompts(std::string session, std::string id, std::string text) {
        auto client = somebody();
        auto what = test::text_prompt(std::move(id), std::move(text));
        const auto done = co_await client.prompt_async(std::move(session), std::move(what));
        BOOST_TEST_REQUIRE(done.has_value());
    }
    net::awaitable<void> somebody_stores(std::string session, std::string id) {
        auto client = somebody();
        auto what = test::text_prompt(std::move(id), "a note");
        const auto done = co_await client.store(std::move(session), std::move(what));
        BOOST_TEST_REQUIRE(done.has_value());
    }

    net::awaitable<void> hear(opencode::feed feed) {
        while (auto event = co_await feed.next())
            fed.push_back(std::move(*event));
    }
    void follow(const std::string& session, follow_by how) {
        tasks->spawn(hear(server->follow(session, how)));
    }
    net::awaitable<void> take_approvals(opencode::session session) {
        while (auto event = co_await session.next_approval())
            approvals.push_back(std::move(*event));
        approvals_over = true;
    }
    std::string fed_endings() const {
        std::string all;
        for (const auto& each : fed)
            if (const auto* how = std::get_if<settlement>(&each.event))
                all += each.message + ' ' + std::string(to_string(how->outcome)) + ' ';
        return all;
    }
    /// "per_1", "per_1=once", ...
    static std::string words(const approval_event& e) {
        return std::visit(
            [](const auto& each) {
                return (each.request.session_id.empty() ? "?" : "") + std::string("asked") +
                       (each.reply ? '=' + *each.reply : "");
            },
            e);
    }
    std::string asked() const {
        std::string all;
        for (const auto& each : approvals)
            all += words(each) + ' ';
        return all;
    }
    net::awaitable<settlement> end_of(opencode::turn& turn) {
        std::optional<settlement> how;
        while (auto event = co_await turn.next()) {
            if (const auto* told = std::get_if<permission_event>(&*event))
                told_to_turn.push_back(*told);
            if (const auto* quiet = std::get_if<opencode::quiet_event>(&*event))
                was_quiet = was_quiet || quiet->status == "idle";
            if (auto* told = std::get_if<settlement>(&*event))
                how = std::move(*told);
        }
        BOOST_TEST_REQUIRE(how.has_value());
        co_return std::move(*how);
    }
    std::vector<permission_event> told_to_turn;
    bool was_quiet = false;
};

} // namespace

// --- late beginnings

CO_TEST_CASE(a_loop_that_begins_late_is_waited_for_and_its_end_is_told, shared_server) {
    for (const auto late : {seconds(12), seconds(48)}) {
        model.cold_start = late;
        start();
        auto session = co_await new_session();
        auto turn = co_await session.prompt("#plain");
        const auto how = co_await end_of(turn);
        BOOST_TEST(to_string(how.outcome) == "completed");
        BOOST_TEST(how.text == "Hello from the simulated model.");
        BOOST_TEST(was_quiet == (late > seconds(30)));
        co_await end();
        server.reset();
        host->shut_down();
    }
}

CO_TEST_CASE(a_stored_prompt_that_is_never_begun_is_lost_after_the_grace_that_is_set, shared_server) {
    model.cold_start = minutes(30);
    for (const auto grace : {seconds(60), seconds(20)}) {
        config.turns.unbegun_grace = grace;
        start();
        auto session = co_await new_session();
        const auto begun = world.time().now();
        auto turn = co_await session.prompt("#plain");
        const auto how = co_await end_of(turn);
        BOOST_TEST(to_string(how.rule) == "never_answered");
        BOOST_TEST((world.time().now() - begun >= grace));
        BOOST_TEST((world.time().now() - begun < grace + seconds(5)));
        co_await end();
        server.reset();
        host->shut_down();
    }
}

// --- others' prompts

CO_TEST_CASE(a_note_of_somebody_is_no_turn_while_it_is_followed_and_at_the_next_start, shared_server) {
    start();
    for (const auto how : {follow_by::stream, follow_by::capture, follow_by::activity}) {
        const auto session = co_await new_session();
        follow(session.id(), how);
        co_await pass(seconds(10));
        co_await somebody_stores(session.id(), "msg_" + session.id() + "a");
        co_await pass(minutes(5));
        follow(session.id(), how);
        co_await pass(minutes(2));
        BOOST_TEST(fed.empty());
        server->stop();
        co_await pass(seconds(1));
        server.reset();
        hold(); // the next start
        follow(session.id(), how);
        co_await pass(minutes(2));
        BOOST_TEST(fed.empty());
        co_await somebody_prompts(session.id(), "msg_" + session.id() + "b", "#plain");
        co_await pass(minutes(1));
        BOOST_TEST(fed_endings() == "msg_" + session.id() + "b completed ");
        fed.clear();
    }
    co_await end();
}

CO_TEST_CASE(a_prompt_of_somebody_that_is_begun_late_is_told_whole, shared_server) {
    model.cold_start = seconds(12);
    start();
    const auto session = co_await new_session();
    follow(session.id(), follow_by::stream);
    co_await pass(seconds(10));
    co_await somebody_prompts(session.id(), "msg_1", "#plain");
    co_await pass(minutes(1));
    BOOST_TEST(fed_endings() == "msg_1 completed ");
    std::string text;
    for (const auto& each : fed)
        if (const auto* more = std::get_if<opencode::text_event>(&each.event))
            text += more->delta;
    BOOST_TEST(text == "Hello from the simulated model.");
    co_await end();
}

// --- history

CO_TEST_CASE(an_answer_that_a_kill_broke_off_long_ago_is_history, shared_server) {
    start();
    for (const auto how : {follow_by::stream, follow_by::capture, follow_by::activity}) {
        fed.clear();
        const auto session = co_await new_session();
        const auto name = "msg_" + session.id();
        co_await somebody_prompts(session.id(), name + "a", "#slow:400");
        co_await pass(seconds(3));
        host->model().restart(world.time().now());
        host->pump();
        co_await pass(std::chrono::hours(1));
        follow(session.id(), how);
        co_await pass(minutes(5));
        BOOST_TEST(fed.empty());
        co_await somebody_prompts(session.id(), name + "b", "#plain");
        co_await pass(minutes(1));
        BOOST_TEST(fed_endings() == name + "b completed ");
    }
    co_await end();
}

// --- approvals that no turn waits for

CO_TEST_CASE(what_somebodys_prompt_asks_is_answered_by_no_rule_and_no_timeout_of_who_holds_the_session,
             shared_server) {
    opencode::ask_rule allow;
    allow.answer = opencode::ask_answer::once;
    config.ask_rules.push_back(allow);
    config.ask_timeout = seconds(20);
    start();
    auto session = co_await new_session();
    tasks->spawn(take_approvals(session));
    co_await pass(seconds(1));
    co_await somebody_prompts(session.id(), "msg_1", "#ask");
    co_await pass(seconds(1));
    auto turn = co_await session.prompt("#ask"); // waits behind it
    co_await pass(minutes(1));
    BOOST_TEST(asked() == "asked ");
    BOOST_TEST_REQUIRE(approvals.size() == 1u);
    const auto id = std::get<permission_event>(approvals[0]).request.id;
    const auto replied = co_await session.reply_permission(id, "once");
    BOOST_TEST(replied.has_value());
    const auto how = co_await end_of(turn);
    BOOST_TEST(to_string(how.outcome) == "completed"); // by the rule
    BOOST_TEST_REQUIRE(told_to_turn.size() == 1u);
    BOOST_TEST(told_to_turn[0].by_rule);
    BOOST_TEST(told_to_turn[0].request.id != id);
    BOOST_TEST(asked() == "asked asked=once ");
    co_await end();
    BOOST_TEST(approvals_over);
}

CO_TEST_CASE(rules_answer_what_somebodys_prompt_asks_in_a_session_that_is_followed, shared_server) {
    opencode::ask_rule allow;
    allow.answer = opencode::ask_answer::once;
    config.ask_rules.push_back(allow);
    start();
    const auto session = co_await new_session();
    follow(session.id(), follow_by::stream);
    co_await pass(seconds(1));
    co_await somebody_prompts(session.id(), "msg_1", "#ask");
    co_await pass(minutes(1));
    BOOST_TEST(fed_endings() == "msg_1 completed ");
    co_await end();
}

CO_TEST_CASE(ghosts_of_what_was_aborted_are_told_to_nobody_in_the_root_and_in_a_child, shared_server) {
    start();
    for (const std::string script : {"#ask:60000", "#task:ask:60000"}) {
        told_to_turn.clear();
        auto session = co_await new_session();
        auto first = co_await session.prompt(script);
        co_await pass(seconds(3));
        const auto aborted = co_await session.abort();
        BOOST_TEST(aborted.has_value());
        const auto how = co_await end_of(first);
        BOOST_TEST(to_string(how.outcome) == "aborted", script);
        auto client = somebody();
        const auto listed = co_await client.permissions({});
        BOOST_TEST_REQUIRE(listed.has_value());
        BOOST_TEST(!listed->empty(), script); // for ever
        told_to_turn.clear();
        auto second = co_await session.prompt("#slow:400");
        co_await pass(seconds(1));
        host->model().cut_streams(world.time().now());
        host->pump();
        (void)co_await end_of(second);
        BOOST_TEST(told_to_turn.empty(), script);
    }
    co_await end();
}

CO_TEST_CASE(waiting_for_an_approval_ends_with_its_cancellation_and_is_one_at_a_time, shared_server) {
    start();
    auto session = co_await new_session();
    BOOST_TEST(!(co_await opencode::session().next_approval()).has_value());
    tasks->spawn(take_approvals(session));
    co_await pass(seconds(1));
    bool refused = false;
    try {
        (void)co_await session.next_approval();
    } catch (const std::logic_error&) {
        refused = true;
    }
    BOOST_TEST(refused);
    co_await end();
    BOOST_TEST(approvals_over);
}

// --- work in the background, by a scripted server

namespace {

/// A server whose session runs a task in the background: its parent is idle, the child works on.
struct background_server final : testing::simulated_server {
    background_server(testing::world& w) : world(w) { world.net().listen(here, *this); }
    ~background_server() override { world.net().stop_listening(here); }

    testing::world& world;
    std::map<testing::wire_id, std::string> bytes;
    std::optional<testing::wire_id> stream;
    std::string status = "{}";
    std::string messages = "[]";
    std::string permissions = "[]";
    std::string child_messages = "[]";
    std::vector<std::string> replies;

    void accepted(testing::wire_id) override {}
    void closed(testing::wire_id wire) override {
        bytes.erase(wire);
        if (stream == wire)
            stream.reset();
    }
    void received(testing::wire_id wire, std::string_view more) override {
        auto& all = bytes[wire];
        all += more;
        for (std::size_t end; (end = all.find("\r\n\r\n")) != std::string::npos;) {
            const auto length_at = all.find("Content-Length: ");
            const auto length = length_at < end ? std::stoul(all.substr(length_at + 16)) : std::size_t{0};
            if (all.size() < end + 4 + length)
                return;
            const auto target = all.substr(0, all.find(" HTTP/"));
            const auto body = all.substr(end + 4, length);
            all.erase(0, end + 4 + length);
            answer(wire, target, body);
        }
    }
    void answer(testing::wire_id wire, const std::string& target, const std::string& body) {
        const auto is = [&](std::string_view route) {
            return target.starts_with(route);
        };
        if (is("GET /event")) {
            stream = wire;
            world.net().send(wire, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                   "Transfer-Encoding: chunked\r\n\r\n");
            return tell(R"({"type":"server.connected","properties":{}})");
        }
        if (is("POST /permission/"))
            replies.push_back(target.substr(17) + ' ' + body);
        json(wire, is("GET /global/health")                ? R"({"healthy":true,"version":"1.18.33"})"
                   : is("GET /session/status")             ? status
                   : is("GET /session/ses_child/message")  ? child_messages
                   : is("GET /session/ses_root/message")   ? messages
                   : is("GET /session/ses_root/children")  ? "[" + info("ses_child", "ses_root") + "]"
                   : is("GET /session/ses_child/children") ? "[]"
                   : is("GET /session/ses_root")           ? info("ses_root", "")
                   : is("GET /session/ses_child")          ? info("ses_child", "ses_root")
                   : is("GET /permission")                 ? permissions
                   : is("POST")                            ? "true"
                                                           : "[]");
    }
    static std::string info(const std::string& id, const std::string& parent) {
        return R"({"id":")" + id + R"(","directory":"/sim","title":"t","version":"1",)" +
               (parent.empty() ? "" : R"("parentID":")" + parent + R"(",)") +
               R"("time":{"created":1,"updated":1}})";
    }
    void json(testing::wire_id wire, const std::string& body) {
        world.net().send(wire, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " +
                                   std::to_string(body.size()) + "\r\n\r\n" + body);
    }
    void tell(const std::string& event) {
        if (!stream)
            return;
        const auto line = "data: " + event + "\n\n";
        char size[17];
        std::snprintf(size, sizeof size, "%zx", line.size());
        world.net().send(*stream, std::string(size) + "\r\n" + line + "\r\n");
    }
    // Events, as the server sends them.
    void says_status(const std::string& session, const std::string& type) {
        tell(R"({"type":"session.status","properties":{"sessionID":")" + session + R"(","status":{"type":")" +
             type + R"("}}})");
    }
    static std::string user(const std::string& id, int at) {
        return R"({"id":")" + id + R"(","sessionID":"ses_root","role":"user","time":{"created":)" +
               std::to_string(at) + "}}";
    }
    static std::string answered(const std::string& id, const std::string& parent, int at, bool done) {
        return R"({"id":")" + id + R"(","sessionID":"ses_root","role":"assistant","parentID":")" + parent +
               R"(","mode":"build","time":{"created":)" + std::to_string(at) +
               (done ? R"(,"completed":)" + std::to_string(at + 1) + R"(},"finish":"stop"})" : "}}");
    }
    static std::string text(const std::string& message, const std::string& said, bool synthetic) {
        return R"({"id":"prt_)" + message + R"(","messageID":")" + message +
               R"(","sessionID":"ses_root","type":"text","text":")" + said +
               R"(","time":{"start":1,"end":2})" + (synthetic ? R"(,"synthetic":true})" : "}");
    }
    void says(const std::string& message) {
        tell(R"({"type":"message.updated","properties":{"sessionID":"ses_root","info":)" + message + "}}");
    }
    void says_part(const std::string& part) {
        tell(R"({"type":"message.part.updated","properties":{"sessionID":"ses_root","part":)" + part + "}}");
    }
    void asks(const std::string& id) {
        permissions = "[" + request(id) + "]";
        tell(R"({"type":"permission.asked","properties":)" + request(id) + "}");
    }
    static std::string request(const std::string& id) {
        return R"({"id":")" + id +
               R"(","sessionID":"ses_child","permission":"bash","patterns":["ls"],"metadata":{},"always":[],)"
               R"("tool":{"messageID":"msg_c","callID":"call_c"}})";
    }
    void child_tool(const std::string& state) {
        child_messages =
            R"([{"info":{"id":"msg_c","sessionID":"ses_child","role":"assistant","parentID":"msg_b",)"
            R"("time":{"created":3}},"parts":[{"id":"prt_c","messageID":"msg_c","sessionID":"ses_child",)"
            R"("type":"tool","tool":"bash","callID":"call_c","state":{"status":")" +
            state + R"("}}]}])";
    }
};

struct background_child : test::in_simulated_world {
    opencode::server_config config;
    std::optional<background_server> host;
    std::optional<opencode::server> server;
    std::optional<task_scope> tasks;
    std::vector<session_event> fed;
    std::optional<opencode::feed> feed;

    background_child() { config.policy = retry::session_stream(); }

    /// The parent's turn is over; the child is at work.
    void start(follow_by how) {
        host.emplace(world);
        host->status = R"({"ses_child":{"type":"busy"}})";
        host->messages = R"([{"info":)" + background_server::user("msg_1", 1) + R"(,"parts":[)" +
                         background_server::text("msg_1", "go", false) + R"(]},{"info":)" +
                         background_server::answered("msg_2", "msg_1", 2, true) + R"(,"parts":[]}])";
        host->child_tool("running");
        tasks.emplace(world.rt(), [](std::exception_ptr e) { std::rethrow_exception(e); });
        server.emplace(world.rt(), test::held_sim::base(), config);
        tasks->spawn(server->run());
        feed = server->follow("ses_root", how);
        tasks->spawn(hear(*feed));
    }
    net::awaitable<void> hear(opencode::feed from) {
        while (auto event = co_await from.next())
            fed.push_back(std::move(*event));
    }
    std::string told() const {
        std::string all;
        for (const auto& each : fed) {
            if (const auto* e = std::get_if<permission_event>(&each.event))
                all += '[' + each.message + "] " + e->request.id + (e->reply ? '=' + *e->reply : "") +
                       (e->by_rule ? " by rule; " : "; ");
            if (const auto* e = std::get_if<settlement>(&each.event))
                all +=
                    '[' + each.message + "] " + std::string(to_string(e->outcome)) + " '" + e->text + "'; ";
        }
        return all;
    }
    net::awaitable<void> pass(duration d) { co_await world.rt().sleep_for(d); }
    net::awaitable<void> end() {
        feed.reset();
        server->stop();
        co_await tasks->join();
    }
    void finish() {
        server.reset();
        host.reset();
        world.settle();
    }
};

} // namespace

CO_TEST_CASE(what_a_child_in_the_background_asks_is_told_without_a_turn_and_its_parent_shows_it,
             background_child) {
    for (const auto how : {follow_by::stream, follow_by::capture}) {
        fed.clear();
        start(how);
        co_await pass(seconds(10));
        BOOST_TEST(feed->view().background == 1u);
        BOOST_TEST(told() == "");
        host->asks("per_1");
        co_await pass(seconds(10));
        BOOST_TEST(told() == "[] per_1; ");
        host->permissions = "[]";
        host->tell(
            R"({"type":"permission.replied","properties":{"sessionID":"ses_child","requestID":"per_1",)"
            R"("reply":"once"}})");
        co_await pass(seconds(10));
        BOOST_TEST(told() == std::string("[] per_1; [] per_1=") +
                                 (how == follow_by::stream ? "once; " : "withdrawn; "));
        co_await end();
        server.reset();
        host.reset();
    }
    start(follow_by::stream);
    co_await end();
}

CO_TEST_CASE(what_a_child_in_the_background_asks_is_answered_by_rule_though_no_turn_is_open,
             background_child) {
    opencode::ask_rule allow;
    allow.answer = opencode::ask_answer::once;
    config.ask_rules.push_back(allow);
    start(follow_by::stream);
    co_await pass(seconds(10));
    host->asks("per_1");
    co_await pass(seconds(2));
    BOOST_TEST(told() == "[] per_1=once by rule; ");
    BOOST_TEST_REQUIRE(host->replies.size() == 1u);
    BOOST_TEST(host->replies[0].starts_with("per_1/reply"), host->replies[0]);
    co_await end();
}

CO_TEST_CASE(a_request_of_a_child_whose_tool_is_over_is_a_ghost_for_who_begins_to_follow, background_child) {
    for (const char* state : {"running", "error"}) {
        fed.clear();
        start(follow_by::stream);
        host->child_tool(state);
        host->asks("per_1");
        co_await pass(seconds(10));
        BOOST_TEST(told() == (state == std::string("running") ? "[] per_1; " : ""));
        co_await end();
        server.reset();
        host.reset();
    }
    start(follow_by::stream);
    co_await end();
}

CO_TEST_CASE(what_a_child_in_the_background_wakes_is_a_turn_of_its_own, background_child) {
    start(follow_by::stream);
    co_await pass(seconds(10));
    host->status = "{}";
    host->says_status("ses_child", "idle");
    host->says(background_server::user("msg_3", 10));
    host->says_part(background_server::text("msg_3", "the task is done", true));
    host->says_status("ses_root", "busy");
    host->says(background_server::answered("msg_4", "msg_3", 11, false));
    host->says_part(background_server::text("msg_4", "woken", false));
    host->says(background_server::answered("msg_4", "msg_3", 11, true));
    host->says_status("ses_root", "idle");
    co_await pass(seconds(2));
    BOOST_TEST(told() == "[msg_3] completed 'woken'; ");
    BOOST_TEST(feed->view().background == 0u);
    co_await end();
}
