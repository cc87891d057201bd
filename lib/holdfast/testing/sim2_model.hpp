// What a simulated server of 2.x is about: sessions, what waits in their inboxes, messages, executions and
// their steps, permissions and forms, and the events that these make. It knows nothing of HTTP and of who
// listens. Every event goes to one sink, in order. Not for users.
#pragma once

#include <holdfast/testing/opencode_sim.hpp>
#include <holdfast/testing/sim2_dialect.hpp>
#include <holdfast/testing/sim_chance.hpp>
#include <holdfast/testing/sim_engine.hpp>
#include <holdfast/testing/sim_script.hpp>
#include <holdfast/testing/sim_story.hpp>

#include <boost/json.hpp>

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::testing::detail::sim2 {

/// A row of the list of messages. The text of a part that runs is "" there.
struct message {
    std::string id;
    std::string type; ///< user, assistant, synthetic, compaction, idle, shell
    json::object row;
    bool continues = false; ///< words of the server's own within a turn, not an input

    [[nodiscard]] bool is_input() const { return (type == "user" || type == "synthetic") && !continues; }
    [[nodiscard]] bool is_open() const; ///< an answer that was not completed
    [[nodiscard]] json::array& content() { return row["content"].as_array(); }
};

/// What waits to become a message.
struct input {
    std::string id;
    std::string type; ///< user, synthetic, compaction
    std::string delivery;
    json::object payload;
    std::int64_t created = 0;
};

/// What a story waits for when it asks the user.
struct answer_to_ask {
    explicit answer_to_ask(timeline& line) : given(line) {}
    gate given;
    std::string reply;   ///< once, always, reject; answered, cancelled
    std::string message; ///< why it was rejected
    json::object answer; ///< of a form
};

struct ask {
    std::string id;
    std::string session;
    bool form = false;
    json::object listed;              ///< as its route shows it
    answer_to_ask* waiting = nullptr; ///< nobody: its execution is being interrupted
};

/// A part of the answer that is being streamed.
struct open_part {
    std::string kind; ///< text, reasoning
    std::uint64_t ordinal = 0;
    std::size_t at = 0; ///< in the message's content
    std::string text;
};

/// A tool of the answer that has not ended.
struct open_tool {
    std::string call;
    std::string shell; ///< the command that runs for it
};

/// How an execution ends.
struct terminal {
    enum class how { succeeded, failed, interrupted };
    how what = how::succeeded;
    std::string reason; ///< of interrupted
    json::object error; ///< of failed
};

/// One session's execution.
struct run {
    enum class phase { idle, starting, working, retrying, settling };
    phase now = phase::idle;
    story tale;
    std::list<story> beside;   ///< tools that run at the same time as the one in `tale`
    std::string answer_id;     ///< of the step that the model was asked for
    message* answer = nullptr; ///< once its first byte came
    bool was_metered = false;  ///< the model's answer came to its end: its tokens are known
    std::optional<open_part> part;
    std::vector<open_tool> tools;
    std::string compaction;     ///< the message of a compaction that runs
    bool rejected = false;      ///< an approval of this step
    bool over = false;          ///< the terminal has been told
    bool more = false;          ///< another step follows in any case
    bool again = false;         ///< a prompt came while the end settled
    std::string child;          ///< whose end the story waits for
    gate* watched_by = nullptr; ///< the parent's story, when it waits for this child
    std::vector<std::function<void()>> when_settled;
};

struct session {
    std::string id;
    std::string directory;
    std::string parent;
    std::string title;
    std::string agent = "build";
    std::string provider = "mock";
    std::string model = "mock-1";
    std::string slug;
    std::int64_t created = 0;
    std::int64_t updated = 0;
    std::int64_t archived = 0;
    std::int64_t idle_ms = 0; ///< when the last execution ended that told its outcome
    std::string outcome;      ///< of that
    int input_tokens = 0;
    int output_tokens = 0;
    std::uint64_t sequence = 0;
    std::vector<std::unique_ptr<message>> messages;
    std::vector<input> inbox;
    sim2::run run;
    terminal last_end;
    std::string background_of; ///< the session that is told when this one ends
    bool instructed = false;
    bool titled = false;
    bool title_planned = false;
    bool deleted = false;
    bool claimed = false; ///< a service takes its execution up again when it starts
    int resumed = 0;      ///< how often it did
};

class model : private chance {
public:
    using chance::origin;
    using chance::wall_ms;
    using done = std::function<void()>;

    model(const opencode_sim::options& settings, timeline& line, std::function<void(const sim_event&)> sink);

    /// From now on it is a server of this version.
    void speak(const std::string& version);
    [[nodiscard]] const dialect& spoken() const { return *spoken_; }
    [[nodiscard]] const std::string& version() const { return version_; }

    // Sessions.
    session& create_session(const std::string& directory, const json::object& body);
    [[nodiscard]] session* find(std::string_view id);
    [[nodiscard]] std::vector<session*> sessions();
    [[nodiscard]] json::object info(const session& s) const;
    [[nodiscard]] static message* find_message(session& s, std::string_view id);
    [[nodiscard]] json::object active() const;
    void rename(session& s, std::string_view title);
    void select_agent(session& s, std::string_view agent);
    void select_model(session& s, const json::object& chosen);
    void remove(session& s);

    // The inbox.
    enum class posted { stored, conflict };
    /// A prompt, or what the server or a person put there beside. `stored` is set to what the route tells of
    /// it.
    posted prompt(session& s, input item, bool resume, json::object& stored);
    [[nodiscard]] json::array waiting(const session& s) const;
    void cancel(session& s, std::string_view id);
    void set_delivery(session& s, std::string_view id, std::string delivery);
    [[nodiscard]] std::string new_message_id() { return ascending("msg"); }

    // Executions.
    void wake(session& s);
    void shell(session& s, std::string command, done when_over);
    /// False: there was nothing to interrupt. `when_settled` is called when its terminal has been told.
    bool interrupt(session& s, bool goes_on, done when_settled);
    /// Calls back when the session is idle.
    void when_idle(session& s, done told);

    // Asks.
    [[nodiscard]] const ask* find_ask(std::string_view id, bool form) const;
    /// Those of a session; of no session: those of a directory.
    [[nodiscard]] json::array asks(const session* s, const std::string& directory, bool forms);
    void reply_permission(const std::string& id, std::string reply, std::string text);
    void reply_form(const std::string& id, json::object answer);
    void cancel_form(const std::string& id);
    /// pending, answered, cancelled; "": there is none in the session.
    [[nodiscard]] std::string form_state(const session& s, const std::string& id) const;
    [[nodiscard]] const json::array& saved_rules() const { return saved_; }

    // The process.
    /// SIGKILL: what was volatile is gone.
    void kill();
    /// SIGTERM, when nobody listens any more: what runs is stopped, and stored.
    void terminate();
    /// A service takes up what it was at when it ended.
    void start();
    void catch_up();
    [[nodiscard]] std::string event(std::string_view type);

    [[nodiscard]] std::vector<opencode_sim::turn_truth> truth();

private:
    static constexpr std::size_t none = static_cast<std::size_t>(-1);

    /// `running` and `text` are found out when truth() is asked for.
    struct prompt_record : opencode_sim::turn_truth {
        std::string last_answer; ///< id of the turn's last assistant message
        bool promoted = false;
        bool finished = false; ///< its last step ended for good
    };

    // sim2_model.cpp: events.
    void log(session& s, std::string_view type, json::object data, int version = 1,
             json::object metadata = {});
    void tell(session& s, std::string_view type, json::object data);
    void tell_of_place(const std::string& directory, std::string_view type, json::object data);
    void send(const std::string& directory, json::object event);
    void fall_behind(duration at_most);
    void may_fall_behind(double probability, milliseconds at_most);
    message& add_message(session& s, std::string id, std::string_view type);

    // Prompt records.
    [[nodiscard]] std::size_t record_of(const std::string& message) const;
    [[nodiscard]] std::size_t owner_of(const session& s) const;
    void promote_record(session& s, const message& m);
    void with_owner(session& s, const std::function<void(prompt_record&)>& change);
    void close_record(prompt_record& r, opencode_sim::outcome how, std::string_view error = {});
    void close_records(session& s, const terminal& end, bool rejected);
    void lose_records(session& s);

    // sim2_turns.cpp: the execution, and what the model plays.
    void begin_execution(session& s, duration delay, bool resumed);
    story execution(session& s, duration delay, bool resumed);
    void close_dangling(session& s);
    story instruct(session& s);
    void resume_with_words(session& s);
    bool promote(session& s, bool idle);
    void promote_one(session& s, std::size_t at);
    story work(session& s, bool more);
    story step(session& s);
    story play(session& s, script what);
    story play_after_tool(session& s, script what);
    story play_trouble(session& s, script what);
    story say(session& s, std::string text, std::string_view finish = "stop");
    story say_and_fail(session& s, std::string text, json::object error);
    story stream(session& s, std::string_view kind, std::string text);
    story retry_wait(session& s, int attempt, json::object error, duration wait);
    story retry_until_it_fails(session& s, json::object error);
    story cut_once(session& s);
    story compact(session& s, std::string_view reason, bool works);
    story simple_tool(session& s, std::string_view name, std::string_view path, std::string output);
    story unknown_tool(session& s);
    story shell_step(session& s, std::string output, std::uint64_t run_ms);
    story two_shells(session& s);
    story shell_tool(session& s, std::string call, std::string output, std::uint64_t run_ms);
    story shell_tool_then(session& s, std::string call, gate& told);
    story question_tool(session& s);
    story subagent_tool(session& s, std::string tag, bool background);
    session& spawn_child(session& s, const std::string& tag, const std::string& call);
    void message_ended(message& m);
    [[nodiscard]] static bool known_agent(const session& s);
    [[nodiscard]] static bool known_model(const session& s);
    [[nodiscard]] static std::string script_text(const session& s);
    [[nodiscard]] static bool has_tools_since_input(session& s);
    [[nodiscard]] static bool has_input(const session& s);
    [[nodiscard]] static bool was_continued(const session& s);
    duration retry_delay(int attempt);

    // sim2_moves.cpp: small moves of a step.
    void ask_model(session& s);
    message& begin_step(session& s);
    void open_text(session& s, std::string_view kind);
    void delta(session& s, std::string text);
    void close_text(session& s);
    std::string begin_tool(session& s, std::string_view name);
    void tell_input(session& s, const std::string& call, const json::object& input);
    void call_tool(session& s, const std::string& call, const json::object& input);
    json::object& tool_of(message& m, const std::string& call);
    void tool_ended(session& s, const std::string& call);
    void tool_succeeded(session& s, const std::string& call, std::string output);
    void tool_failed(session& s, const std::string& call, std::string_view type, std::string message);
    void end_step(session& s, std::string_view finish);
    void fail_step(session& s, json::object error);
    void fail(session& s, json::object error);
    void reject_step(session& s);
    void count_tokens(session& s);
    void tell_usage(session& s);
    void plan_title(session& s);
    ask& put_ask(session& s, bool form, json::object asked, answer_to_ask& waiting);

    // sim2_endings.cpp: ends, from inside and from outside.
    void end_execution(session& s, terminal end);
    void settle(session& s, std::string_view reason);
    void settle_tools(session& s);
    void withdraw_asks(session& s);
    void drop_story(session& s);
    void over(session& s);
    void report_to_parent(session& s);
    void interrupt_child(session& s, std::string_view reason);
    [[nodiscard]] bool resumes(const session& s) const;

    const opencode_sim::options& settings_;
    timeline& line_;
    std::function<void(const sim_event&)> sink_;
    std::string version_;
    const dialect* spoken_;
    std::vector<std::unique_ptr<session>> sessions_;
    std::vector<std::unique_ptr<ask>> asks_;
    std::map<std::string, std::pair<std::string, std::string>> forms_; ///< settled ones: session and state
    std::vector<prompt_record> prompts_;
    json::array saved_;          ///< rules of "always"
    std::set<std::string> warm_; ///< directories that had an execution in this process
    bool stopping_ = false;      ///< of SIGTERM
    std::vector<sim_event> behind_;
    std::optional<timeline::key> catches_up_;
};

[[nodiscard]] json::object error_of(std::string_view type, std::string_view message);

} // namespace holdfast::testing::detail::sim2
