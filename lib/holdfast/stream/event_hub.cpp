#include <holdfast/stream/event_hub.hpp>

#include <holdfast/runtime/cancellation.hpp>

#include <exception>
#include <stdexcept>
#include <utility>

namespace holdfast::stream {
namespace {

std::string_view told_of(const routing& where, std::string_view data) {
    return where.part.data() == nullptr ? data : where.part;
}

bool is_end(item::kind what) {
    return what == item::kind::gave_up || what == item::kind::done || what == item::kind::answered;
}

} // namespace

event_hub::event_hub(const runtime& world, task_scope& scope, hub_config config)
    : world_(world), scope_(scope), config_(std::move(config)), source_(world, config_.source) {
    if (!config_.route)
        throw std::logic_error("hub_config::route is empty: nobody says where an event goes");
}

net::awaitable<void> event_hub::run() {
    if (std::exchange(running_, true))
        co_return;
    const auto self = shared_from_this();
    struct ending {
        event_hub& hub;
        ~ending() {
            hub.running_ = hub.acknowledged_ = false;
            hub.source_.close();
            for (const auto& [key, each] : hub.members_)
                hub.scope_.cancel(std::exchange(each->repair, 0));
        }
    } const ending{*this};

    while (auto item = co_await source_.next()) {
        if (is_end(item->what)) {
            co_await give_up(std::move(*item));
            co_return;
        }
        if (item->what != item::kind::event) {
            dispatch(*item);
            continue;
        }
        const auto data = item->event.data;
        const auto where = route(data);
        std::shared_ptr<void> prepared;
        if (is_to_be_prepared(where, data))
            prepared = co_await prepare(told_of(where, data));
        if (!closed_)
            dispatch_event(where, data, std::move(prepared));
    }
}

bool event_hub::is_to_be_prepared(const routing& where, std::string_view data) const {
    if (!config_.prepare || where.to == routing::target::observer)
        return false;
    if (where.to == routing::target::everyone)
        return true;
    const auto to = members_.find(where.key);
    return where.to == routing::target::subscriber && data.size() > config_.large && to != members_.end() &&
           to->second->live;
}

// A copy: the stream may be closed meanwhile.
net::awaitable<std::shared_ptr<void>> event_hub::prepare(std::string_view told) {
    std::string copy(told);
    std::shared_ptr<void> prepared;
    std::exception_ptr thrown;
    try {
        prepared = co_await config_.prepare(std::move(copy));
    } catch (...) {
        thrown = std::current_exception();
    }
    co_await throw_if_cancelled();
    if (thrown)
        report("prepare", thrown);
    co_return prepared;
}

void event_hub::dispatch(const item& what) {
    switch (what.what) {
    case item::kind::opened:
    case item::kind::comment:
    case item::kind::skipped:
    case item::kind::done:
    case item::kind::answered:
    case item::kind::gave_up: return;
    case item::kind::interrupted: return interrupt(what);
    case item::kind::event: return; // see run()
    }
}

routing event_hub::route(std::string_view data) {
    routing where;
    contained("route", [&] { where = config_.route(data); });
    return where;
}

void event_hub::dispatch_event(const routing& where, std::string_view data, std::shared_ptr<void> prepared) {
    const auto told = told_of(where, data);
    switch (where.to) {
    case routing::target::nobody: return;
    case routing::target::acknowledge: return acknowledge();
    case routing::target::subscriber:
        source_.note_progress();
        if (const auto to = members_.find(where.key); to != members_.end())
            return tell(to->second, told, std::move(prepared));
        break;
    case routing::target::everyone:
        for (const auto& each : everyone())
            tell(each, told, prepared);
        break;
    case routing::target::observer: break;
    }
    if (config_.observe)
        contained("observe", [&] { config_.observe(data); });
}

void event_hub::acknowledge() {
    if (std::exchange(acknowledged_, true))
        return;
    for (const auto& each : everyone())
        attach(each);
}

void event_hub::attach(const member_ptr& to) {
    to->live = to->overflowed = false;
    call(*to, "on_attached", [&] { to->who->on_attached(); });
    if (may_call(*to))
        to->repair = scope_.spawn(repair(to));
}

net::awaitable<void> event_hub::repair(member_ptr to) {
    const auto self = shared_from_this();
    do {
        to->overflowed = false;
        std::exception_ptr thrown;
        try {
            co_await to->who->repair();
        } catch (...) {
            thrown = std::current_exception();
        }
        co_await throw_if_cancelled(); // else it could make live what has just been interrupted
        if (thrown)
            report("repair", thrown);
    } while (to->overflowed);
    to->repair = 0;
    flush(*to);
}

void event_hub::flush(member& to) {
    // Events come by the stream alone, so what a handler does here cannot add to them: one pass is enough.
    const auto held_back = std::exchange(to.held_back, {});
    to.held_back_bytes = 0;
    to.live = true;
    for (const auto& data : held_back)
        call(to, "on_event", [&] { to.who->on_event(data); });
    call(to, "on_live", [&] { to.who->on_live(); });
}

void event_hub::tell(const member_ptr& to, std::string_view data, std::shared_ptr<void> prepared) {
    if (to->live && prepared) {
        call(*to, "on_prepared", [&] { to->who->on_prepared(data, std::move(prepared)); });
    } else if (to->live) {
        call(*to, "on_event", [&] { to->who->on_event(data); });
    } else if (acknowledged_ && !to->overflowed) {
        to->held_back_bytes += data.size();
        to->held_back.emplace_back(data);
        if (to->held_back_bytes > config_.held_back_bytes) {
            to->overflowed =
                true; // the repair begins again when it is through: these events are in its snapshot
            to->held_back.clear();
            to->held_back_bytes = 0;
        }
    }
}

void event_hub::interrupt(const item& why) {
    acknowledged_ = false;
    for (const auto& each : everyone()) {
        scope_.cancel(std::exchange(each->repair, 0));
        each->live = false;
        each->held_back.clear();
        each->held_back_bytes = 0;
        call(*each, "on_interrupted", [&] { each->who->on_interrupted(why); });
    }
}

net::awaitable<void> event_hub::give_up(item why) {
    interrupt(why);
    // Each call holds `telling`, also one that is cancelled before it begins: when the last lets go, all are
    // told.
    const auto all_told = std::make_shared<condition_variable>(world_);
    std::shared_ptr<void> telling(nullptr, [all_told](std::nullptr_t) { all_told->notify_all(); });
    const std::weak_ptr<void> still_telling = telling;
    for (const auto& each : everyone())
        scope_.spawn(tell_give_up(each, why, telling));
    telling.reset();
    while (!still_telling.expired())
        co_await all_told->wait();
}

net::awaitable<void> event_hub::tell_give_up(member_ptr to, item why,
                                             [[maybe_unused]] std::shared_ptr<void> telling) {
    const auto self = shared_from_this();
    std::exception_ptr thrown;
    try {
        co_await to->who->on_give_up(why);
    } catch (...) {
        thrown = std::current_exception();
    }
    co_await throw_if_cancelled();
    if (thrown)
        report("on_give_up", thrown);
}

void event_hub::subscribe(std::string key, std::shared_ptr<subscriber> who) {
    unsubscribe(key);
    const auto made = std::make_shared<member>();
    made->who = std::move(who);
    members_.emplace(std::move(key), made);
    if (acknowledged_)
        attach(made);
}

void event_hub::unsubscribe(std::string_view key) {
    const auto found = members_.find(key);
    if (found == members_.end())
        return;
    const auto leaving = found->second;
    members_.erase(found);
    leaving->left = true;
    scope_.cancel(std::exchange(leaving->repair, 0));
}

// A copy: a handler may subscribe or unsubscribe.
std::vector<event_hub::member_ptr> event_hub::everyone() const {
    std::vector<member_ptr> all;
    for (const auto& [key, each] : members_)
        all.push_back(each);
    return all;
}

void event_hub::close() noexcept {
    closed_ = true;
    source_.close();
}

void event_hub::wake() {
    source_.wake();
}

// After close(), and after they have left, nobody is told anything more.
bool event_hub::may_call(const member& to) const noexcept {
    return !closed_ && !to.left;
}

template <class Call>
void event_hub::call(const member& to, std::string_view what, Call&& make) noexcept {
    if (may_call(to))
        contained(what, std::forward<Call>(make));
}

template <class Call>
void event_hub::contained(std::string_view what, Call&& make) noexcept {
    try {
        make();
    } catch (...) {
        report(what, std::current_exception());
    }
}

void event_hub::report(std::string_view what, const std::exception_ptr& thrown) noexcept {
    log_record record;
    record.level = log_level::error;
    record.event = "hub.handler_threw";
    record.tag = config_.source.tag;
    record.action = what;
    record.error_class = retry::to_string(retry::failure_class::local);
    record.error_message = what_of(thrown);
    world_.report(record);
}

} // namespace holdfast::stream
