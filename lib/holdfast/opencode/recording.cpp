#include <holdfast/opencode/recording.hpp>

#include <holdfast/opencode/event.hpp>
#include <holdfast/opencode/protocol/v2/recording.hpp>

#include <boost/json/value.hpp>

#include <utility>

namespace holdfast::opencode {

namespace {

constexpr time_point no_time{}; // nothing here depends on time

bool is_about_a_message(const event& e) {
    return std::holds_alternative<message_updated>(e) || std::holds_alternative<part_updated>(e) ||
           std::holds_alternative<part_delta>(e);
}

} // namespace

recording::recording() = default;
recording::~recording() = default;
recording::recording(recording&&) noexcept = default;
recording& recording::operator=(recording&&) noexcept = default;

recording::root_session& recording::root_of(std::string_view session) {
    const auto known = roots_.find(session);
    if (known != roots_.end())
        return sessions_.find(known->second)->second;
    const std::string id(session);
    roots_.emplace(id, id);
    order_.push_back(id);
    tracker_options options;
    options.adopt_prompts = true;
    const auto made = sessions_.emplace(id, root_session{turn_tracker(id, options), false, {}, {}}).first;
    made->second.tracker.attached(no_time);
    return made->second;
}

void recording::deliver(root_session& to, const std::string& session, const event& e) {
    to.tracker.on_event(e, no_time);
    for (auto& o : to.tracker.take_outputs()) {
        if (const auto* usage = std::get_if<usage_event>(&o.event))
            to.used[o.message].add(*usage);
        if (auto* how = std::get_if<settlement>(&o.event))
            if (auto used = to.used.extract(o.message))
                how->usage = used.mapped();
        rows_.push_back({session, std::move(o.message), std::move(o.event)});
    }
}

// What can be of either protocol means nothing to a turn.
void recording::feed(std::string_view data) {
    if (protocol_ == 1)
        return feed_v1(data);
    const auto whole = parse_json(data);
    if (!whole)
        return;
    if (protocol_ == 0)
        protocol_ = v2::protocol_of(*whole);
    if (protocol_ == 1)
        return feed_v1(data);
    if (protocol_ == 0)
        return;
    if (!v2_)
        v2_ = std::make_unique<v2::recording>();
    if (auto e = v2::read_event(*whole))
        v2_->feed(std::move(*e));
}

void recording::feed_v1(std::string_view data) {
    const auto head = peek(data);
    if (head.type.empty() || head.sync_twin)
        return;
    const auto parsed = parse_event(head.body);
    if (!parsed)
        return;
    const event& e = *parsed;
    const auto session = session_of(e);
    if (session.empty()) {
        for (const auto& id : order_)
            deliver(sessions_.find(id)->second, id, e);
        return;
    }
    if (const auto* created = std::get_if<session_created>(&e); created && !created->info.parent_id.empty()) {
        root_of(created->info.parent_id);
        roots_.emplace(created->info.id, roots_.find(created->info.parent_id)->second);
    }
    auto& root = root_of(session);
    const auto id = roots_.find(session)->second;
    root.has_messages = root.has_messages || is_about_a_message(e);
    if (const auto* error = std::get_if<session_error>(&e); error && !root.first_error)
        root.first_error = error->error;
    deliver(root, id, e);
}

std::vector<recorded_row> recording::take_rows() {
    if (v2_)
        return v2_->take_rows();
    return std::exchange(rows_, {});
}

std::vector<recorded_check> recording::needs_check() const {
    if (v2_)
        return v2_->needs_check();
    std::vector<recorded_check> checks;
    for (const auto& id : order_) {
        const auto& session = sessions_.find(id)->second;
        for (auto& open : session.tracker.unsettled())
            checks.push_back({id, std::move(open.message), std::move(open.why)});
        // An abort shows that something ran; any message shows that there was a prompt before the recording
        // began.
        const auto& error = session.first_error;
        if (error && !session.has_messages && error->name != aborted_error)
            checks.push_back({id, std::nullopt, "an error and no prompt: " + error->message});
    }
    return checks;
}

} // namespace holdfast::opencode
