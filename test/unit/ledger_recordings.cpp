// The cases of recordings.cpp, run with the tracker of the ledger over the broken streams; and both, over
// each recording.
#define HOLDFAST_TEST_LEDGER
#include "recordings.cpp"

namespace {

std::set<std::string> roots_of(const std::vector<event>& events) {
    std::set<std::string> roots;
    std::set<std::string> children;
    for (const auto& e : events) {
        if (!session_of(e).empty())
            roots.insert(std::string(session_of(e)));
        if (const auto* created = std::get_if<session_created>(&e);
            created && !created->info.parent_id.empty())
            children.insert(created->info.id);
    }
    for (const auto& child : children)
        roots.erase(child);
    return roots;
}

/// The owners' events, and then what is left open, and why.
template <class Tracker>
std::vector<std::string> heard_by(const std::string& root, const std::vector<event>& events) {
    tracker_options options;
    options.adopt_prompts = true;
    Tracker tracker(root, options);
    tracker.attached({});
    for (const auto& e : events)
        tracker.on_event(e, {});
    std::vector<std::string> all;
    for (const auto& out : tracker.take_outputs()) {
        auto line = ledger::describe(ledger::deliver{out.message, out.event});
        if (const auto* t = std::get_if<text_event>(&out.event))
            line += ' ' + t->part + ' ' + t->delta;
        if (const auto* t = std::get_if<tool_event>(&out.event))
            line += ' ' + t->id + ' ' + t->state + ' ' + t->title;
        if (const auto* p = std::get_if<permission_event>(&out.event))
            line += ' ' + p->request.id + ' ' + p->reply.value_or("");
        if (const auto* s = std::get_if<settlement>(&out.event))
            line += ' ' + s->text + ' ' + s->event + ' ' + s->merged_into + ' ' +
                    std::string(to_string(s->safe_to_reprompt)) + ' ' + (s->error ? s->error->message : "");
        all.push_back(std::move(line));
    }
    for (const auto& check : tracker.unsettled())
        all.push_back(check.message + " open: " + check.why);
    return all;
}

} // namespace

BOOST_AUTO_TEST_CASE(both_trackers_say_the_same_of_each_recording) {
    for (const auto& path : all_recordings()) {
        const auto events = recorded_events(path);
        for (const auto& root : roots_of(events))
            BOOST_TEST_CONTEXT(path.stem() << ' ' << root) {
                BOOST_TEST(heard_by<ledger_tracker>(root, events) == heard_by<turn_tracker>(root, events),
                           boost::test_tools::per_element());
            }
    }
}
