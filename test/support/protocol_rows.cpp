#include "support/protocol_rows.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>

namespace holdfast::test {

namespace {

namespace json = boost::json;

// Times are those of the ids, in milliseconds, of which 36 bits are known.
using stamp = std::int64_t;

constexpr stamp a_cold_start = 1000;
constexpr stamp no_reply_is_wanted_after = 10'000;
constexpr stamp a_dispose_at_once = 300;

std::string_view text(const json::object& from, std::string_view key) {
    const auto* value = from.if_contains(key);
    return value && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

const json::object& object(const json::object& from, std::string_view key) {
    static const json::object none;
    const auto* value = from.if_contains(key);
    return value && value->is_object() ? value->get_object() : none;
}

stamp low_bits(std::int64_t wall_ms) {
    return wall_ms & ((std::int64_t{1} << 36) - 1);
}

/// An event's id begins with 12 hex digits of ms * 4096 + n.
stamp time_of(std::string_view id) {
    stamp value = 0;
    for (const char c : id.substr(std::min<std::size_t>(4, id.size()), 12)) {
        const auto digit = std::string_view("0123456789abcdef").find(c);
        if (digit == std::string_view::npos)
            return 0;
        value = value * 16 + static_cast<stamp>(digit);
    }
    return value / 4096;
}

/// The longest wait that the server chooses by itself before a try.
stamp longest_backoff(std::int64_t attempt) {
    return std::min<stamp>(2500LL << std::clamp<std::int64_t>(attempt - 1, 0, 20), 30'000);
}

struct user_message {
    enum class kind { not_known_yet, prompt, continuation };
    std::string id;
    user_message::kind what = kind::not_known_yet;
    stamp posted = 0;
    bool while_busy = false;
    bool during_tool = false;
    bool done_with = false; // answered, merged, dropped or failed
};

struct answer {
    std::string parent;
    std::string finish;
    std::string error;
    bool summary = false;
    bool completed = false;
    bool has_parts = false;
    bool ended_before_parts = false;
    bool thrown_away = false; // a try's text was
};

/// What one run of the loop showed, from busy to idle.
struct loop {
    std::optional<row> aborted; // by which row
    std::optional<row> rejected;
    std::string error; // of the model
    bool overflowed = false;
    bool retried = false;
    bool told_when_to_retry = false;
    std::int64_t attempts = 0;
    bool answered = false;
    bool reposted = false;
    bool child_aborted = false;
    std::size_t prompts_while_busy = 0;
    std::set<std::string> finished; // prompts with an answer of their own that said why it ended
};

struct session {
    enum class phase {
        idle,
        working,
        settling, // aborted: the first idle is out, the second is not
        failing,  // the same after an error of the model
    };
    std::string directory;
    std::string parent;
    phase now = phase::idle;
    loop run;
    std::vector<user_message> users;
    std::map<std::string, answer> answers;
    std::string last_answer;
    std::set<std::string> tools;       // at work, by part
    std::set<std::string> tools_told;  // calls of which it was said that they run
    std::map<std::string, bool> texts; // open ones, and whether they have a delta
    bool retrying = false;
    bool compacted = true; // since the last summary was finished
    bool reposted = false;
    bool known = false; // from its beginning, or a prompt's
    bool begins_idle = false;
    bool deleted = false;
    bool deleted_at_work = false;
    int extra_idles = 0;
    int errors_at_rest = 0;
    stamp last_error = 0;
    std::optional<stamp> abort_settled;

    answer* last() {
        const auto found = answers.find(last_answer);
        return found == answers.end() ? nullptr : &found->second;
    }
    user_message* user(std::string_view id) {
        const auto found =
            std::find_if(users.begin(), users.end(), [&](const auto& u) { return u.id == id; });
        return found == users.end() ? nullptr : &*found;
    }
    bool waits_for_a_loop() const {
        return std::any_of(users.begin(), users.end(), [](const auto& u) { return !u.done_with; });
    }
    void done_with_all() {
        for (auto& u : users)
            u.done_with = true;
    }
};

struct ask {
    std::string session;
    bool question = false;
    bool ghost = false;
};

} // namespace

class protocol_rows::impl {
public:
    void event(std::string_view directory, std::string_view payload) {
        boost::system::error_code failed;
        const auto parsed = json::parse(payload, failed);
        if (failed || !parsed.is_object())
            return;
        now_ = time_of(text(parsed.get_object(), "id"));
        const auto type = text(parsed.get_object(), "type");
        const auto& properties = object(parsed.get_object(), "properties");
        const auto id = std::string(text(properties, "sessionID"));
        if (type == "server.instance.disposed")
            disposed(text(properties, "directory"));
        else if (type == "session.error" && id.empty())
            add(row::error_without_session);
        else if (!id.empty())
            of_session(id, directory, type, properties);
    }

    void process_killed() {
        for (auto& [id, s] : sessions_) {
            if (s.now != session::phase::idle)
                add(row::server_killed);
            s.now = session::phase::idle;
            s.done_with_all();
            s.tools.clear();
            s.texts.clear();
        }
        asks_.clear();
    }

    void muted(bool on) { muted_ = on; }

    void quiet() {
        for (auto& [id, s] : sessions_)
            if (s.now == session::phase::idle && s.waits_for_a_loop() && !s.deleted) {
                add(row::no_reply_prompt);
                s.done_with_all();
            }
    }

    [[nodiscard]] const std::set<row>& seen() const { return seen_; }

private:
    void add(row r) { seen_.insert(r); }

    void of_session(const std::string& id, std::string_view directory, std::string_view type,
                    const json::object& properties) {
        const auto [at, fresh] = sessions_.try_emplace(id);
        session& s = at->second;
        s.directory = directory;
        s.known = s.known || type == "session.created" ||
                  (type == "message.updated" && text(object(properties, "info"), "role") == "user");
        if (!s.known) {
            before_our_time(s, type, properties, fresh);
            return;
        }
        if (muted_ && type == "session.idle")
            add(row::mute_stream);
        if (type == "session.created")
            s.parent = text(object(properties, "info"), "parentID");
        else if (type == "session.deleted")
            deleted(s);
        else if (type == "message.updated")
            message(s, object(properties, "info"));
        else if (type == "message.part.updated")
            part(s, object(properties, "part"));
        else if (type == "message.part.delta")
            delta(s, text(properties, "partID"));
        else if (type == "session.status")
            status(s, object(properties, "status"));
        else if (type == "session.idle")
            idle(s);
        else if (type == "session.error")
            error(s, text(object(properties, "error"), "name"));
        else if (type == "session.compacted")
            s.compacted = true;
        else if (type == "permission.asked" || type == "question.asked")
            asked(s, id, properties, type == "question.asked");
        else if (type == "permission.replied" || type == "question.replied" || type == "question.rejected")
            replied(s, properties, type);
    }

    /// What a session is at whose beginning we have not seen cannot be told; only one that begins with an
    /// idle never was.
    void before_our_time(session& s, std::string_view type, const json::object& properties, bool fresh) {
        if (type == "session.status")
            s.begins_idle = fresh && text(object(properties, "status"), "type") == "idle";
        else if (type == "session.idle" && s.begins_idle)
            add(row::abort_of_an_unknown_session);
    }

    // Messages.

    void message(session& s, const json::object& info) {
        if (text(info, "role") == "user")
            user(s, text(info, "id"));
        else
            assistant(s, info);
    }

    void user(session& s, std::string_view id) {
        if (s.user(id)) {
            if (s.now == session::phase::idle)
                s.reposted = true;
            else
                add(row::repost_while_running);
            return;
        }
        user_message u;
        u.id = id;
        u.posted = now_;
        u.while_busy = s.now == session::phase::working;
        u.during_tool = u.while_busy && !s.tools.empty();
        s.users.push_back(std::move(u));
        s.extra_idles = 0;
        s.errors_at_rest = 0;
    }

    /// A user message can be classed only when its first part has come.
    void first_part_of_user(session& s, user_message& u, const json::object& part) {
        const bool copy = text(part, "type") == "text" && !s.compacted;
        const bool own =
            text(part, "type") == "compaction" || part.contains("synthetic") || (copy && u.while_busy);
        u.what = own ? user_message::kind::continuation : user_message::kind::prompt;
        if (own) {
            u.done_with = true;
            continuation_is_copy_[u.id] = copy && !part.contains("synthetic");
        } else if (u.while_busy) {
            ++s.run.prompts_while_busy;
        }
    }

    void assistant(session& s, const json::object& info) {
        const auto id = std::string(text(info, "id"));
        const bool fresh = !s.answers.contains(id);
        answer& a = s.answers[id];
        a.parent = text(info, "parentID");
        a.summary = info.contains("summary");
        a.finish = text(info, "finish");
        a.error = text(object(info, "error"), "name");
        a.completed = object(info, "time").contains("completed");
        if (a.completed && !a.has_parts)
            a.ended_before_parts = true;
        if (fresh) {
            s.last_answer = id;
            answer_begins(s, a);
        }
        if (a.completed)
            answer_ends(s, a);
    }

    void answer_begins(session& s, const answer& a) {
        s.run.answered = true;
        if (s.run.rejected)
            add(row::rejected_with_a_message);
        s.run.rejected.reset();
        user_message* asked = s.user(a.parent);
        if (!asked)
            return;
        if (s.run.overflowed && asked->what == user_message::kind::continuation && !a.summary)
            continuation_answered(*asked);
        for (auto& earlier : s.users) {
            if (&earlier == asked)
                break;
            if (earlier.done_with)
                continue;
            earlier.done_with = true;
            if (earlier.what == user_message::kind::prompt && !has_answer(s, earlier.id))
                add(row::prompts_merged);
        }
        if (asked->during_tool && asked->what == user_message::kind::prompt && ended_at_a_tool(s, asked->id))
            add(row::prompt_taken_during_a_tool);
        asked->done_with = true;
    }

    void continuation_answered(const user_message& asked) {
        const auto known = continuation_is_copy_.find(asked.id);
        if (known != continuation_is_copy_.end())
            add(known->second ? row::continuation_copy : row::continuation_synthetic);
    }

    static bool has_answer(const session& s, const std::string& prompt) {
        return std::any_of(s.answers.begin(), s.answers.end(),
                           [&](const auto& a) { return a.second.parent == prompt; });
    }

    /// Another prompt's last message wanted a tool and nothing after it.
    static bool ended_at_a_tool(const session& s, const std::string& but) {
        std::string finish;
        for (const auto& [id, a] : s.answers)
            if (a.parent != but)
                finish = a.finish;
        return finish == "tool-calls";
    }

    void answer_ends(session& s, const answer& a) {
        if (a.summary && !a.finish.empty() && a.error.empty())
            s.compacted = false;
        if (!a.finish.empty() && a.finish != "tool-calls" && !a.summary)
            s.run.finished.insert(a.parent);
        if (a.thrown_away && (!a.finish.empty() || !a.error.empty()))
            add(row::thrown_away_try);
    }

    // Parts.

    void part(session& s, const json::object& part) {
        const auto message_id = text(part, "messageID");
        if (user_message* u = s.user(message_id)) {
            if (u->what == user_message::kind::not_known_yet)
                first_part_of_user(s, *u, part);
            return;
        }
        const auto found = s.answers.find(std::string(message_id));
        if (found == s.answers.end())
            return;
        answer& a = found->second;
        if (!a.has_parts && a.ended_before_parts)
            add(row::finish_before_the_first_part);
        a.has_parts = true;
        const auto type = text(part, "type");
        const auto id = std::string(text(part, "id"));
        if (type == "tool")
            tool(s, id, part);
        else if (type == "text" && object(part, "time").contains("end"))
            s.texts.erase(id);
        else if (type == "text")
            s.texts.emplace(id, false);
    }

    static void tool(session& s, const std::string& id, const json::object& part) {
        const auto status = text(object(part, "state"), "status");
        if (status == "running")
            s.tools_told.emplace(text(part, "callID"));
        if (status == "completed" || status == "error")
            s.tools.erase(id);
        else
            s.tools.insert(id);
    }

    void delta(session& s, std::string_view part_id) {
        if (s.deleted_at_work)
            add(row::delete_while_running);
        if (const auto open = s.texts.find(std::string(part_id)); open != s.texts.end())
            open->second = true;
    }

    // Status, idle, error.

    void status(session& s, const json::object& status) {
        const auto type = text(status, "type");
        if (type == "busy")
            busy(s);
        else if (type == "retry")
            retry(s, status);
    }

    void busy(session& s) {
        s.retrying = false;
        if (s.now == session::phase::working)
            return;
        s.now = session::phase::working;
        s.run = loop();
        s.run.reposted = std::exchange(s.reposted, false);
        s.extra_idles = 0;
        s.errors_at_rest = 0;
        for (auto& u : s.users) {
            if (u.done_with)
                continue;
            if (now_ - u.posted > no_reply_is_wanted_after) {
                add(row::no_reply_prompt);
                u.done_with = true;
            } else if (now_ - u.posted > a_cold_start && !u.while_busy) {
                add(row::cold_instance);
            }
        }
    }

    void retry(session& s, const json::object& status) {
        const auto* attempt = status.if_contains("attempt");
        const auto* next = status.if_contains("next");
        s.retrying = true;
        s.run.retried = true;
        s.run.attempts = attempt && attempt->is_int64() ? attempt->get_int64() : 1;
        if (next && next->is_int64() &&
            low_bits(next->get_int64()) - now_ > longest_backoff(s.run.attempts) + 50)
            s.run.told_when_to_retry = true;
        if (text(status, "message").find("rate limit") != std::string_view::npos)
            s.run.told_when_to_retry = true;
        answer* a = s.last();
        for (const auto& [id, has_delta] : s.texts)
            if (a && has_delta)
                a->thrown_away = true;
        s.texts.clear();
    }

    void error(session& s, std::string_view name) {
        if (name == "ContextOverflowError") {
            s.run.overflowed = true;
            return;
        }
        if (name == "MessageAbortedError") {
            aborted(s);
            return;
        }
        switch (s.now) {
        case session::phase::working: s.run.error = name; break;
        case session::phase::failing:
            add(row::error_after_idle);
            if (!s.run.answered) {
                add(row::unknown_model);
                s.now = session::phase::idle;
                s.done_with_all();
            }
            break;
        case session::phase::settling: add(row::error_after_idle); break;
        case session::phase::idle:
            s.errors_at_rest = now_ - s.last_error < a_cold_start ? s.errors_at_rest + 1 : 1;
            s.last_error = now_;
            if (s.errors_at_rest == 2 && !s.deleted)
                add(row::unknown_agent);
            break;
        }
    }

    void aborted(session& s) {
        if (s.now != session::phase::working)
            return;
        if (is_asked(s))
            s.run.aborted = row::abort_while_asked;
        else if (!s.tools.empty())
            s.run.aborted = row::abort_while_a_tool_runs;
        else
            s.run.aborted = row::abort_while_streaming;
        if (s.run.child_aborted)
            add(row::abort_parent);
        if (const auto parent = sessions_.find(s.parent); parent != sessions_.end())
            parent->second.run.child_aborted = parent->second.now == session::phase::working;
    }

    void idle(session& s) {
        switch (s.now) {
        case session::phase::idle: idle_at_rest(s); break;
        case session::phase::working: idle_after_work(s); break;
        case session::phase::settling: idle_while_settling(s); break;
        case session::phase::failing: model_has_failed(s); break;
        }
    }

    void idle_at_rest(session& s) {
        if (s.waits_for_a_loop()) {
            add(row::abort_before_the_loop);
            s.done_with_all();
            return;
        }
        add(row::abort_while_idle);
        if (++s.extra_idles == 2)
            add(row::abort_twice);
    }

    void idle_after_work(session& s) {
        if (s.run.aborted) {
            s.now = session::phase::settling;
        } else if (!s.run.error.empty()) {
            s.now = session::phase::failing;
        } else {
            over(s);
            s.now = session::phase::idle;
        }
    }

    void idle_while_settling(session& s) {
        const answer* a = s.last();
        if (a && a->error.empty() && !s.deleted) {
            add(row::abort_twice);
            return;
        }
        add(*s.run.aborted);
        leave_ghosts(s);
        if (s.waits_for_a_loop() && s.run.prompts_while_busy > 0)
            add(row::abort_with_two_open);
        end_work(s);
        s.abort_settled = now_;
    }

    void model_has_failed(session& s) {
        add(s.run.attempts >= 5 ? row::retries_used_up : row::model_error);
        end_work(s);
    }

    void end_work(session& s) {
        s.now = session::phase::idle;
        s.done_with_all();
        s.tools.clear();
        s.texts.clear();
    }

    /// The loop ended without an abort or an error of the model's.
    void over(session& s) {
        const answer* a = s.last();
        if (!s.run.answered || !a) {
            add(s.run.reposted ? row::repost_after_the_end : row::abort_before_the_loop);
        } else if (s.retrying && a->finish.empty()) {
            add(row::abort_in_retry_wait);
            s.abort_settled = now_;
        } else if (s.run.rejected) {
            add(*s.run.rejected);
        } else if (a->summary) {
            add(row::overflow_compaction_fails);
        } else if (a->finish.empty()) {
            add(row::shell_command);
        } else {
            finished(s);
        }
        if (s.run.prompts_while_busy > 0)
            add(row::prompt_while_busy);
        end_work(s);
    }

    void finished(session& s) {
        add(row::normal);
        if (s.run.overflowed)
            add(row::overflow_recovers);
        if (s.run.retried)
            add(row::retry_recovers);
        if (s.run.told_when_to_retry)
            add(row::retry_after_header);
        std::size_t prompts = 0;
        for (const auto& id : s.run.finished)
            if (const auto* u = s.user(id); u && u->what == user_message::kind::prompt)
                ++prompts;
        if (prompts > 1)
            add(row::both_prompts_answered);
        const auto parent = sessions_.find(s.parent);
        if (parent != sessions_.end() && parent->second.now == session::phase::working)
            add(row::subagent);
    }

    // Asks.

    void asked(session& s, const std::string& id, const json::object& properties, bool question) {
        asks_[std::string(text(properties, "id"))] = {id, question, false};
        if (!s.parent.empty())
            add(row::subagent_asks);
        if (!s.tools_told.contains(std::string(text(object(properties, "tool"), "callID"))))
            add(row::ask_before_the_tool_runs);
    }

    void replied(session& s, const json::object& properties, std::string_view type) {
        const auto found = asks_.find(std::string(text(properties, "requestID")));
        if (found == asks_.end())
            return;
        if (found->second.ghost)
            add(row::ghost_answered);
        else if (type == "question.rejected")
            s.run.rejected = row::question_rejected;
        else if (text(properties, "reply") == "reject")
            s.run.rejected = row::permission_rejected;
        asks_.erase(found);
    }

    bool is_asked(const session& s) {
        return std::any_of(asks_.begin(), asks_.end(), [&](const auto& a) {
            return !a.second.ghost && &sessions_[a.second.session] == &s;
        });
    }

    void leave_ghosts(const session& s) {
        for (auto& [id, a] : asks_)
            if (&sessions_[a.session] == &s) {
                a.ghost = true;
                add(row::ghost_left);
            }
    }

    // Endings from outside.

    void deleted(session& s) {
        s.deleted = true;
        s.deleted_at_work = s.now == session::phase::working;
    }

    void disposed(std::string_view directory) {
        add(row::dispose_ends_the_stream);
        for (const auto& [id, s] : sessions_) {
            const bool here = s.directory.empty() || s.directory == directory;
            if (here && s.abort_settled && now_ - *s.abort_settled <= a_dispose_at_once)
                add(row::dispose_in_mid_turn);
        }
        std::erase_if(asks_, [&](const auto& a) {
            const auto s = sessions_.find(a.second.session);
            return s == sessions_.end() || s->second.directory.empty() || s->second.directory == directory;
        });
    }

    std::map<std::string, session> sessions_;
    std::map<std::string, ask> asks_;
    std::map<std::string, bool> continuation_is_copy_;
    std::set<row> seen_;
    stamp now_ = 0;
    bool muted_ = false;
};

protocol_rows::protocol_rows() : impl_(std::make_unique<impl>()) {}
protocol_rows::protocol_rows(protocol_rows&&) noexcept = default;
protocol_rows& protocol_rows::operator=(protocol_rows&&) noexcept = default;
protocol_rows::~protocol_rows() = default;

void protocol_rows::event(std::string_view directory, std::string_view payload) {
    impl_->event(directory, payload);
}
void protocol_rows::process_killed() {
    impl_->process_killed();
}
void protocol_rows::muted(bool on) {
    impl_->muted(on);
}
void protocol_rows::quiet() {
    impl_->quiet();
}
const std::set<row>& protocol_rows::seen() const {
    return impl_->seen();
}

const std::vector<row_text>& all_rows() {
    static const std::vector<row_text> all = {
        {row::normal, "normal", "finish, completed twice, status idle, session.idle"},
        {row::abort_while_streaming, "abort while streaming",
         "aborted while the model is at work: two idles"},
        {row::abort_while_a_tool_runs, "abort while a tool runs", "the same while a tool is at work"},
        {row::abort_while_asked, "abort while asked", "the same while a permission or question is pending"},
        {row::abort_in_retry_wait, "abort in retry wait",
         "completed without error, one idle, no session.error"},
        {row::abort_before_the_loop, "abort before the loop",
         "one idle, no assistant message, the prompt lost"},
        {row::abort_while_idle, "abort while idle", "an extra idle out of nothing"},
        {row::abort_of_an_unknown_session, "abort of an unknown session",
         "an idle of a session never heard of"},
        {row::abort_twice, "abort twice", "an idle more than one abort makes"},
        {row::model_error, "model error", "session.error, idle, message.updated(error), idle"},
        {row::retries_used_up, "retries used up", "the same after five retries"},
        {row::unknown_model, "unknown model", "busy, session.error, idle, session.error again; no message"},
        {row::unknown_agent, "unknown agent", "two session.error and nothing else"},
        {row::overflow_recovers, "overflow recovers",
         "session.error in mid-turn, compaction, one idle at the end"},
        {row::overflow_compaction_fails, "overflow, compaction fails",
         "the compaction's message has the error"},
        {row::permission_rejected, "permission rejected",
         "tool error, finish tool-calls, idle, no session.error"},
        {row::question_rejected, "question rejected", "the same for a question"},
        {row::rejected_with_a_message, "rejected with a message",
         "the model is called again, the turn goes on"},
        {row::prompt_while_busy, "prompt while busy", "two prompts in one loop, one session.idle"},
        {row::no_reply_prompt, "noReply prompt", "a user message, no busy, no idle"},
        {row::subagent, "subagent", "a child's idle in the middle of its parent's turn"},
        {row::subagent_asks, "subagent asks", "a request under the child's session id"},
        {row::abort_parent, "abort of a parent", "the child's terminals first"},
        {row::delete_while_running, "delete while running", "deltas after session.deleted, never an idle"},
        {row::server_killed, "server killed", "nothing is announced"},
        {row::finish_before_the_first_part, "finish before the first part",
         "message.updated serialised late"},
        {row::ask_before_the_tool_runs, "ask before the tool runs",
         "asked before the tool part says running"},
        {row::error_after_idle, "error after idle", "session.error when the idle is out already"},
        {row::error_without_session, "error without a session id", "session.error of a plugin"},
        {row::cold_instance, "cold instance", "busy comes more than a second after the prompt"},
        {row::ghost_left, "ghost left", "a request that outlives its turn"},
        {row::ghost_answered, "ghost answered", "a reply to it is taken, and only told"},
        {row::retry_recovers, "retry recovers", "status retry, then a normal end"},
        {row::retry_after_header, "retry with Retry-After", "the wait that the model's server asked for"},
        {row::thrown_away_try, "thrown-away try", "a text part with deltas that never ends"},
        {row::continuation_synthetic, "synthetic continuation", "the answer's parent is a synthetic message"},
        {row::continuation_copy, "copied continuation", "the answer's parent is a copy of the prompt"},
        {row::prompts_merged, "prompts merged", "the first of several has no answer of its own"},
        {row::prompt_taken_during_a_tool, "prompt taken during a tool", "the next step answers the second"},
        {row::both_prompts_answered, "both prompts answered", "two answers, one idle"},
        {row::abort_with_two_open, "abort with two open", "the second never gets an assistant message"},
        {row::repost_while_running, "repost while running", "the same message is told again, nothing else"},
        {row::repost_after_the_end, "repost after the end", "a spurious busy, then idle"},
        {row::shell_command, "shell command", "completed with neither finish nor error: no turn"},
        {row::mute_stream, "mute stream", "heartbeats alone, though a session became idle"},
        {row::dispose_in_mid_turn, "dispose in mid-turn", "the running turns' terminals, then the disposal"},
        {row::dispose_ends_the_stream, "dispose ends the stream",
         "server.instance.disposed is the last event"},
    };
    return all;
}

std::string_view name_of(row r) {
    for (const auto& one : all_rows())
        if (one.row == r)
            return one.name;
    return {};
}

std::string row_table(const std::map<row, std::size_t>& counts) {
    std::string out;
    for (const auto& one : all_rows()) {
        const auto found = counts.find(one.row);
        const auto count = std::to_string(found == counts.end() ? 0 : found->second);
        std::string line(count.size() < 9 ? 9 - count.size() : 0, ' ');
        line.append(count).append("  ").append(one.name);
        line.append(line.size() < 44 ? 44 - line.size() : 1, ' ');
        out.append(line).append(one.what).append("\n");
    }
    return out;
}

std::vector<row_text> rows_without(const std::map<row, std::size_t>& counts) {
    std::vector<row_text> out;
    for (const auto& one : all_rows())
        if (const auto found = counts.find(one.row); found == counts.end() || found->second == 0)
            out.push_back(one);
    return out;
}

} // namespace holdfast::test
