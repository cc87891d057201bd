// What the simulated server is about: sessions, messages, turns, asks, and the events they make. It knows
// nothing of HTTP and of who listens. Every event goes to one sink, in order.
// Not for users.
#pragma once

#include <holdfast/testing/opencode_sim.hpp>
#include <holdfast/testing/sim_chance.hpp>
#include <holdfast/testing/sim_script.hpp>
#include <holdfast/testing/sim_story.hpp>

#include <boost/json.hpp>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::testing::detail {

namespace json = boost::json;

/// The string under `key`; "" where there is none.
[[nodiscard]] inline std::string_view text_at(const json::object& from, std::string_view key) {
    const auto* value = from.if_contains(key);
    return value && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

/// One event on its way to the subscribers.
struct sim_event {
    std::string directory; ///< the instance it belongs to; "global" for the server's own
    std::string payload;   ///< {"id","type","properties"}
    std::string sync;      ///< for durable events: the twin that /global/event carries beside it
};

/// The event as /api/event carries it, and as /global/event carries its payload, or its twin.
[[nodiscard]] std::string api_event(const sim_event& e);
[[nodiscard]] std::string global_event(const sim_event& e, const std::string& payload);

struct message {
    std::string id;
    std::string
        root; ///< user messages: the prompt that this one belongs to (its own id, unless a continuation)
    bool user = false;
    bool compaction = false; ///< asks for a compaction, or is one
    json::object info;
    std::vector<json::object> parts; ///< as stored: the text of a running part is ""
};

struct session;

/// A write to a session whose rows are gone.
struct session_gone {};

/// An event that was made, and is not yet told.
struct pending_event {
    std::string directory;
    std::string type;
    std::string id;
    json::object properties;
    const message* as_it_is_then = nullptr; ///< of message.updated: its info is read when the event is told
    std::optional<std::uint64_t> sequence;  ///< of durable events
    std::string session;
};

/// What a story waits for when it asks the user.
struct reply_to_ask {
    explicit reply_to_ask(timeline& line) : given(line) {}
    gate given;
    std::string reply; ///< once, always, reject; or answer
    std::string message;
    json::array answers;
};

struct ask {
    std::string id;
    std::string session;
    std::string directory;
    bool question = false;
    json::object listed;             ///< as GET /permission and /question show it
    reply_to_ask* waiting = nullptr; ///< nobody: the turn was aborted, a ghost
};

/// One session's loop.
struct run {
    enum class phase { none, starting, working, retrying, settling };
    run::phase now = phase::none;
    story tale;
    message* answer = nullptr; ///< the assistant message being written
    message* asked = nullptr;  ///< the user message that it answers
    std::string text_part;     ///< the part being streamed, if any
    std::string text;          ///< what was streamed of it; stored at its end
    std::string tool_part;     ///< the tool at work, if any
    bool tool_has_output = false;
    bool stop = false;          ///< the loop ends after this step
    bool shell = false;         ///< a command of the user's own, not a loop
    bool again = false;         ///< a prompt came while the abort settled, or during a command
    gate* watched_by = nullptr; ///< the parent's story, when it waits for this child
    std::vector<std::function<void()>> when_over;
};

struct session {
    std::string id;
    std::string directory;
    std::string parent;
    json::object info;
    std::vector<std::unique_ptr<message>> messages;
    testing::detail::run run;
    json::object status; ///< empty: idle
    std::string agent = "build";
    std::string provider = "mock";
    std::string model = "mock-1";
    std::uint64_t sequence = 0;
    bool deleted = false;
    bool titled = false;
};

class engine : private chance {
public:
    using chance::error_reference;
    using chance::origin;
    using chance::wall_ms;
    using done = std::function<void()>;

    engine(const opencode_sim::options& settings, timeline& line, std::function<void(const sim_event&)> sink);

    // Sessions.
    session& create_session(const std::string& directory, const json::object& body);
    [[nodiscard]] session* find(const std::string& id);
    [[nodiscard]] std::vector<session*> sessions();
    void rename(session& s, std::string_view title);
    void remove(session& s);
    [[nodiscard]] message* find_message(session& s, std::string_view id);
    [[nodiscard]] json::object statuses(const std::string& directory);

    // Turns.
    [[nodiscard]] static bool known_agent(std::string_view name);
    [[nodiscard]] bool known_model(const session& s) const;
    enum class posted { taken, unknown_agent };
    /// `when_over` is called when the loop that this prompt is in has ended (at once for noReply).
    posted prompt(session& s, const json::object& body, done when_over);
    void shell(session& s, std::string command, done when_over);
    /// The names of the server's commands, and what their templates make of a prompt.
    [[nodiscard]] static json::array commands();
    /// Fills in the command's template, and prompts with it; `parts` are added. False: there is no such
    /// command.
    bool command(session& s, const json::object& body, done when_over);
    /// For an idle or unknown session too. `when_settled` is called when the real server would answer.
    void abort(const std::string& id, const std::string& directory, done when_settled);

    // Asks.
    [[nodiscard]] json::array asks(const std::string& directory, bool questions) const;
    [[nodiscard]] const ask* find_ask(const std::string& id, const std::string& directory,
                                      bool question) const;
    void reply_permission(const std::string& id, std::string reply, std::string text);
    void reply_question(const std::string& id, json::array answers);
    void reject_question(const std::string& id);

    // Instances and the process.
    [[nodiscard]] std::set<std::string> instances() const { return warm_; }
    void dispose(const std::string& directory);
    /// Tells at once what the streams are behind with: a new subscriber gets nothing that was before it.
    void catch_up();
    /// An event without a session.
    void emit_server(const std::string& directory, std::string_view type, json::object properties);
    void kill();

    [[nodiscard]] std::vector<opencode_sim::turn_truth> truth();
    [[nodiscard]] std::string event(std::string_view type, json::object properties);
    /// How much later than planned the next heartbeat comes.
    [[nodiscard]] duration heartbeat_delay();

private:
    static constexpr std::size_t none = static_cast<std::size_t>(-1);

    /// `running` and `text` are found out when truth() is asked for.
    struct prompt_record : opencode_sim::turn_truth {
        std::string last_answer; ///< id of the turn's last assistant message
        bool rejected = false;
    };

    // Events.
    void emit(session& s, std::string_view type, json::object properties, bool durable = false,
              const message* late = nullptr);
    void tell(pending_event e);
    void write(pending_event e);
    void fall_behind(duration at_most);
    void fall_behind_for_a_step();
    void emit_session(session& s, std::string_view type);
    void emit_message(session& s, const message& m);
    void emit_part(session& s, const json::object& part);
    void emit_error(session& s, json::object error);
    void set_status(session& s, json::object status);
    void set_busy(session& s);
    void become_idle(session& s);
    void warm_up(const std::string& directory);

    // Messages and parts.
    json::object& put_part(session& s, message& m, json::object part);
    json::object& part_of(message& m, const std::string& id);
    message& add_message(session& s, std::string id, bool user);
    message& add_user(session& s, std::string id, const json::object& body);
    message& add_continuation(session& s, const message& asked, std::vector<json::object> parts,
                              bool compaction);
    message& add_answer(session& s, message& asked, std::string_view mode);
    bool has_earlier_prompt(const session& s, const message& prompt) const;
    bool was_compacted(const session& s, const message& prompt) const;
    message& last_user(session& s);
    message* last_answer(session& s);
    static std::string text_of(const message& m);
    static json::object tokens(int input, int output);

    // Prompt records.
    std::size_t record_of(const session& s, const std::string& message_id) const;
    static bool stands_before(const session& s, const std::string& message_id, const message& later_one);
    void begin_record(session& s, const message& asked, const message& answer);
    void close_records(session& s, opencode_sim::outcome how, std::string_view error);
    void reopen_record(const std::string& message);
    void close_by_answer(session& s, prompt_record& r);
    void close_merged(session& s);
    void step_record_for_answer(session& s, const std::function<void(prompt_record&)>& change);
    void record_part(session& s, const json::object& part);

    // sim_turns.cpp: the loop and what the model plays.
    void begin_loop(session& s, duration delay);
    story loop(session& s, duration delay);
    bool answered(session& s);
    story while_it_exists(session& s, story tale);
    story fail_to_write(session& s);
    story step(session& s, bool first);
    story play(session& s, script what);
    story play_after_tool(session& s, script what);
    story compact(session& s, script what);
    void go_on_after_compaction(session& s, const message& asked);
    story say(session& s, std::string text);
    story stream(session& s, std::string text);
    story retry_wait(session& s, int attempt, std::string text, duration wait);
    story retry_until_it_fails(session& s, json::object error, std::string text, bool with_text);
    story read_tool(session& s);
    story write_tool(session& s);
    story todo_tool(session& s);
    story bash_tool(session& s, std::string command, std::string output, std::uint64_t run_ms);
    story question_tool(session& s);
    story task_tool(session& s, std::string tag);
    story run_shell(session& s, std::string command);
    void model_called(session& s);
    void step_start(session& s);
    void open_text(session& s, std::string_view kind);
    void delta(session& s, std::string text);
    void close_text(session& s);
    void throw_text_away(session& s);
    void tool_pending(session& s, std::string_view name);
    void tool_running(session& s, const json::object& input, const json::object& more = {});
    void tool_ended(session& s, std::string_view status, json::object more);
    void finish_step(session& s, std::string_view reason);
    void fail_step(session& s, json::object error);
    void complete_answer(session& s);
    void overflow_step(session& s);
    void fail_without_answer(session& s);
    void end_run(session& s);
    void plan_title(session& s);
    void plan_summary(session& s, duration delay);
    void plan_plugin_error(const std::string& directory);
    ask& put_ask(session& s, bool question, json::object asked, reply_to_ask& waiting);
    duration retry_delay(int attempt);

    // Endings from outside.
    void abort_children(session& s);
    void abort_work(session& s, done when_settled, bool at_once);
    void settle_abort(session& s);
    void abort_retry(session& s);
    void abort_deleted(session& s);
    void end_deleted(session& s);
    void drop_story(session& s);
    void over(session& s);

    const opencode_sim::options& settings_;
    timeline& line_;
    std::function<void(const sim_event&)> sink_;
    std::vector<std::unique_ptr<session>> sessions_;
    std::vector<std::unique_ptr<ask>> asks_;
    std::vector<prompt_record> prompts_;
    std::set<std::string> warm_;
    std::set<std::string> always_allowed_; // directories in which bash was granted for good
    std::vector<pending_event> behind_;    // while the streams are behind
    std::optional<timeline::key> catches_up_;
    bool catches_up_after_a_step_ = false;
};

} // namespace holdfast::testing::detail
