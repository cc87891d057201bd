// The truth about turns, under any order of real events, lost streams, snapshots and decisions of the
// owner's. Input: bytes that say what happens next, see `drama`. The events are those of the recordings, as
// though all were of one session.
#include "fuzz.hpp"

#include "support/recordings.hpp"

#include <holdfast/opencode/recording.hpp>
#include <holdfast/opencode/turn_tracker.hpp>

#include <map>
#include <set>

namespace {

using namespace holdfast;
using namespace holdfast::fuzz;
using namespace holdfast::opencode;

const std::string root = "ses_root";

// --- the stage

struct told_event {
    std::string data; ///< as it stands on the stream, without the wrapping
    event what;
};

struct stage {
    std::vector<told_event> events;
    std::vector<std::size_t> beginnings; ///< of the recordings
    std::vector<std::string> prompts;    ///< ids of the user messages
};

void replace_all(std::string& text, const std::string& from) {
    for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + root.size()))
        text.replace(at, from.size(), root);
}

/// The sessions of a recording that nobody else started.
std::set<std::string> roots_of(const std::vector<std::string>& recorded) {
    std::set<std::string> roots, children;
    for (const auto& data : recorded) {
        const auto e = parse_event(peek(data).body);
        if (!e)
            continue;
        if (!session_of(*e).empty())
            roots.insert(std::string(session_of(*e)));
        const auto* created = std::get_if<session_created>(&*e);
        if (created && !created->info.parent_id.empty())
            children.insert(created->info.id);
    }
    for (const auto& child : children)
        roots.erase(child);
    return roots;
}

stage read_recordings() {
    stage all;
    for (const auto& path : test::all_recordings()) {
        all.beginnings.push_back(all.events.size());
        const auto recorded = test::recorded_data(path);
        const auto roots = roots_of(recorded);
        for (const auto& data : recorded) {
            const auto head = peek(data);
            if (head.type.empty() || head.sync_twin)
                continue;
            std::string body(head.body);
            for (const auto& id : roots)
                replace_all(body, id);
            auto e = parse_event(body);
            if (!e)
                continue;
            if (const auto* m = std::get_if<message_updated>(&*e); m && !m->info.assistant)
                all.prompts.push_back(m->info.id);
            all.events.push_back({std::move(body), std::move(*e)});
        }
    }
    return all;
}

const stage& the_stage() {
    static const stage all = read_recordings();
    return all;
}

// --- the drama

failure broken_stream() {
    return make_failure(errc::cut, {}, true);
}

class drama {
public:
    explicit drama(std::string_view script)
        : script_(script), mode_(next_byte()), tracker_(root, options()), server_(root) {
        tracker_.attached(now_);
    }

    void play() {
        constexpr int longest = 600; // events; more say nothing new, and take their time
        while (!script_.empty() && heard_ < longest)
            act(next_byte());
        if (adopts())
            check_recording();
        else
            finish();
    }

private:
    // Bits of the first byte.
    [[nodiscard]] bool adopts() const { return mode_ & 1; }
    [[nodiscard]] bool ends_by_itself() const { return mode_ & 2; }
    [[nodiscard]] tracker_options options() const {
        tracker_options o;
        o.adopt_prompts = adopts();
        return o;
    }

    unsigned next_byte() {
        if (script_.empty())
            return 0;
        const auto byte = static_cast<unsigned char>(script_.front());
        script_.remove_prefix(1);
        return byte;
    }
    std::size_t next_number() { return next_byte() * std::size_t{256} + next_byte(); }
    const std::string& next_prompt() {
        return the_stage().prompts[next_number() % the_stage().prompts.size()];
    }

    void act(unsigned byte) {
        const auto& all = the_stage();
        const unsigned few = byte % 16;
        switch (byte / 16) {
        case 0:
        case 1:
        case 2:
        case 3: // the stream goes on
            for (unsigned i = 0; i <= byte; ++i)
                tell(cursor_event());
            break;
        case 4: // the server goes on, and nobody hears it
            for (unsigned i = 0; i <= few; ++i)
                server_.apply(cursor_event().what);
            break;
        case 5: // said again
            hear(all.events[(cursor_ + all.events.size() - 1 - few) % all.events.size()]);
            break;
        case 6: // anything from anywhere
            tell(all.events[(few * std::size_t{65536} + next_number()) % all.events.size()]);
            break;
        case 7: // another recording, from its beginning
            cursor_ = all.beginnings[(few * std::size_t{16} + next_byte() % 16) % all.beginnings.size()];
            break;
        case 8: // time passes
            now_ += milliseconds(1 << few);
            tracker_.tick(now_);
            break;
        case 9: owner_acts(few); break;
        case 10: stream_acts(few); break;
        default: // a prompt is posted, and the server takes it
            prompt(upcoming_prompt());
        }
        collect();
    }

    void owner_acts(unsigned what) {
        if (adopts())
            return;
        const auto id = next_prompt();
        switch (what) {
        case 0: open(id); break;
        case 1:
            if (opened_.contains(id) && tracker_.is_open(id))
                tracker_.posted(id, now_);
            break;
        case 2:
            if (!tracker_.is_open(id)) {
                ++opened_[id];
                tracker_.adopt(id, now_);
            }
            break;
        case 3: tracker_.close(id, outcome::detached, rule::detached, {}, reprompt::no, now_); break;
        case 4: tracker_.close(id, outcome::lost, rule::gave_up, {}, reprompt::unknown, now_); break;
        case 5: tracker_.abort_requested(now_); break;
        default: prompt(id);
        }
    }

    void stream_acts(unsigned what) {
        if (adopts())
            return; // a recording is a whole stream
        switch (what) {
        case 0: tracker_.interrupted(broken_stream(), 1, seconds(1), now_); break;
        case 1: tracker_.attached(now_); break;
        case 2: tracker_.on_snapshot(server_.now(), tracker_.begin_snapshot(), now_); break;
        case 3: mark_ = tracker_.begin_snapshot(); break;
        case 4: // one that took its time
            tracker_.on_snapshot(server_.now(), mark_, now_);
            break;
        case 5: tracker_.snapshot_failed(broken_stream(), now_); break;
        case 6: tracker_.broken_off(broken_stream(), now_); break;
        case 7: // restarted, and all is lost
            server_ = test::rest_model(root);
            break;
        default: (void)tracker_.take_reposts();
        }
    }

    const told_event& cursor_event() {
        const auto& events = the_stage().events;
        const auto& e = events[cursor_];
        cursor_ = (cursor_ + 1) % events.size();
        return e;
    }

    /// The prompt that the events to come answer.
    std::string upcoming_prompt() const {
        const auto& events = the_stage().events;
        for (std::size_t i = cursor_; i < events.size() && i < cursor_ + 64; ++i)
            if (const auto* m = std::get_if<message_updated>(&events[i].what); m && !m->info.assistant)
                return m->info.id;
        return "msg_unheard";
    }

    void tell(const told_event& e) {
        server_.apply(e.what);
        hear(e);
    }
    void hear(const told_event& e) {
        ++heard_;
        tracker_.on_event(e.what, now_);
        if (adopts())
            recording_.feed(e.data);
        collect();
    }

    /// A prompt's id is used once.
    bool open(const std::string& id) {
        if (adopts() || opened_.contains(id))
            return false;
        opened_[id] = 1;
        tracker_.open(id, now_);
        return true;
    }
    void prompt(const std::string& id) {
        if (open(id))
            tracker_.posted(id, now_);
    }

    static bool is_approval(const agent_event& event) {
        return std::holds_alternative<permission_event>(event) ||
               std::holds_alternative<question_event>(event);
    }

    void collect() {
        for (const auto& o : tracker_.take_outputs()) {
            if (o.message.empty()) { // to the session
                hold(is_approval(o.event), "what belongs to no turn is an approval", o.message);
                continue;
            }
            if (!adopts())
                hold(settled_[o.message] < opened_[o.message], "nothing is told of a turn that is not open",
                     o.message);
            else
                hold(settled_[o.message] == 0, "nothing is told of a turn after its settlement", o.message);
            if (std::holds_alternative<settlement>(o.event))
                ++settled_[o.message];
        }
    }

    /// Once the server is idle and reachable, every turn ends in bounded time; else its owner lets it go.
    void finish() {
        for (const auto& [id, times] : opened_)
            if (tracker_.is_open(id))
                tracker_.posted(id, now_);
        collect();
        if (ends_by_itself())
            come_to_rest();
        for (const auto& [id, times] : opened_)
            tracker_.close(id, outcome::detached, rule::detached, {}, reprompt::no, now_);
        collect();
        for (const auto& [id, times] : opened_)
            hold(settled_[id] == times, "every turn is settled exactly once", id);
        hold(!tracker_.has_open_turns(), "no turn is open when all are settled");
        now_ += seconds(3600);
        tracker_.tick(now_);
        tracker_.attached(now_);
        collect(); // nothing more is told
    }

    void come_to_rest() {
        tracker_.attached(now_);
        auto at_rest = server_.now();
        at_rest.status = {};
        at_rest.permissions.clear();
        at_rest.questions.clear();
        const auto begin = now_;
        for (int step = 0; tracker_.has_open_turns(); ++step) {
            (void)tracker_.take_reposts();
            if (tracker_.wants_snapshot()) {
                tracker_.on_snapshot(at_rest, tracker_.begin_snapshot(), now_);
            } else {
                const auto next = tracker_.next_deadline();
                hold(next.has_value(), "an open turn waits for a snapshot or for a moment");
                now_ = std::max(now_, *next);
                tracker_.tick(now_);
            }
            collect();
            hold(step < 1000 && now_ - begin < seconds(120),
                 "a turn of a server at rest ends in bounded time", unsettled());
        }
    }

    [[nodiscard]] std::string unsettled() const {
        std::string text;
        for (const auto& check : tracker_.unsettled())
            text += check.message + ": " + check.why + "; ";
        return text;
    }

    void check_recording() {
        std::set<std::pair<std::string, std::string>> settled; // by session and prompt
        for (const auto& row : recording_.take_rows()) {
            hold(!settled.contains({row.session, row.message}), "a recorded turn says nothing after its end",
                 row.message);
            if (std::holds_alternative<settlement>(row.event))
                settled.insert({row.session, row.message});
        }
        for (const auto& check : recording_.needs_check())
            hold(!settled.contains({check.session, check.message.value_or("")}),
                 "a turn that has ended needs no check", check.message.value_or(""));
    }

    std::string_view script_;
    unsigned mode_;
    time_point now_{seconds(1000)};
    turn_tracker tracker_;
    turn_tracker::mark mark_;
    test::rest_model server_;
    recording recording_;
    std::size_t cursor_ = 0;
    int heard_ = 0;
    std::map<std::string, int> opened_, settled_;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    drama(as_text(data, size)).play();
    return 0;
}
