#include <holdfast/stream/event_hub.hpp>

#include <holdfast/runtime/cancellation.hpp>

#include <exception>
#include <utility>

namespace holdfast::stream {

event_hub::event_hub(runtime& world, task_scope& scope, hub_config config)
    : world_(world), scope_(scope), config_(std::move(config)), source_(world, config_.source) {}

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
        if (item->what == item::kind::gave_up) {
            co_await give_up(std::move(*item));
            co_return;
        }
        dispatch(*item);
    }
}

void event_hub::dispatch(const item& what) {
    switch (what.what) {
    case item::kind::opened:
    case item::kind::gave_up:
        return;
    case item::kind::interrupted:
        return interrupt(what);
    case item::kind::event:
        return dispatch_event(what.event.data);
    }
}

void event_hub::dispatch_event(std::string_view data) {
    routing where;
    contained("route", [&] { where = config_.route(data); });
    switch (where.to) {
    case routing::target::nobody:
        return;
    case routing::target::acknowledge:
        return acknowledge();
    case routing::target::subscriber:
        if (const auto to = members_.find(where.key); to != members_.end())
            return tell(to->second, data);
        break;
    case routing::target::everyone:
        for (const auto& each : everyone())
            tell(each, data);
        break;
    case routing::target::observer:
        break;
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
    contained("on_attached", [&] { to->who->on_attached(); });
    to->repair = scope_.spawn(repair(to));
}

net::awaitable<void> event_hub::repair(member_ptr to) {
    const auto self = shared_from_this();
    do {
        to->overflowed = false;
        try {
            co_await to->who->repair();
        } catch (const boost::system::system_error& e) {
            if (e.code() == net::error::operation_aborted)
                throw;
            report("repair");
        } catch (const std::exception&) {
            report("repair");
        }
    } while (to->overflowed);
    to->repair = 0;
    flush(*to);
}

void event_hub::flush(member& to) {
    // A handler may make more events come: no, events come by the stream alone. One pass is enough.
    const auto held_back = std::exchange(to.held_back, {});
    to.held_back_bytes = 0;
    to.live = true;
    for (const auto& data : held_back)
        contained("on_event", [&] { to.who->on_event(data); });
    contained("on_live", [&] { to.who->on_live(); });
}

void event_hub::tell(const member_ptr& to, std::string_view data) {
    if (to->live) {
        contained("on_event", [&] { to->who->on_event(data); });
    } else if (acknowledged_ && !to->overflowed) {
        to->held_back_bytes += data.size();
        to->held_back.emplace_back(data);
        if (to->held_back_bytes > config_.held_back_bytes) {
            to->overflowed = true; // the repair begins again when it is through: these events are in its snapshot
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
        contained("on_interrupted", [&] { each->who->on_interrupted(why); });
    }
}

net::awaitable<void> event_hub::give_up(item why) {
    interrupt(why);
    const auto waiting = std::make_shared<std::size_t>(members_.size());
    const auto done = std::make_shared<condition_variable>(world_);
    auto tell_one = [](std::shared_ptr<event_hub> self, member_ptr to, item last, std::shared_ptr<std::size_t> left,
                       std::shared_ptr<condition_variable> all) -> net::awaitable<void> {
        struct departure {
            std::size_t& left;
            condition_variable& all;
            ~departure() {
                if (--left == 0)
                    all.notify_all();
            }
        } const departure{*left, *all};
        try {
            co_await to->who->on_give_up(last);
        } catch (const boost::system::system_error& e) {
            if (e.code() == net::error::operation_aborted)
                throw;
            self->report("on_give_up");
        } catch (const std::exception&) {
            self->report("on_give_up");
        }
    };
    for (const auto& each : everyone())
        scope_.spawn(tell_one(shared_from_this(), each, why, waiting, done));
    while (*waiting != 0)
        co_await done->wait();
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
    scope_.cancel(std::exchange(found->second->repair, 0));
    members_.erase(found);
}

// A copy: a handler may subscribe or unsubscribe.
std::vector<event_hub::member_ptr> event_hub::everyone() const {
    std::vector<member_ptr> all;
    for (const auto& [key, each] : members_)
        all.push_back(each);
    return all;
}

void event_hub::close() noexcept {
    source_.close();
}

void event_hub::wake() {
    source_.wake();
}

template <class Call>
void event_hub::contained(std::string_view what, Call&& call) noexcept {
    try {
        call();
    } catch (...) {
        report(what);
    }
}

// Called while an exception is handled.
void event_hub::report(std::string_view what) noexcept {
    log_record record;
    record.level = log_level::error;
    record.event = "hub.handler_threw";
    record.tag = config_.source.tag;
    record.action = what;
    try {
        throw;
    } catch (const std::exception& e) {
        record.error_message = e.what();
    } catch (...) {
        record.error_message = "not a std::exception";
    }
    world_.log(record);
}

} // namespace holdfast::stream
