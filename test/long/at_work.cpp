#include "long/at_work.hpp"

#include <boost/asio/post.hpp>

#include <stdexcept>

namespace holdfast::test {

using namespace std::chrono_literals;

std::string told_turn::message() const {
    const std::lock_guard lock(mutex_);
    return message_;
}

std::vector<told_turn::entry> told_turn::events() const {
    const std::lock_guard lock(mutex_);
    return told_;
}

bool told_turn::ended() const {
    const std::lock_guard lock(mutex_);
    return ended_;
}

std::optional<told_turn::moment> told_turn::settled_at() const {
    const std::lock_guard lock(mutex_);
    for (const auto& each : told_)
        if (std::holds_alternative<opencode::settlement>(each.event))
            return each.when;
    return std::nullopt;
}

std::optional<told_turn::moment> told_turn::abort_asked_at() const {
    const std::lock_guard lock(mutex_);
    return abort_asked_at_;
}

std::optional<told_turn::moment> told_turn::abort_accepted_at() const {
    const std::lock_guard lock(mutex_);
    return abort_accepted_at_;
}

bool told_turn::wait_end(std::chrono::milliseconds deadline) const {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, deadline, [this] { return ended_; });
}

library_at_work::library_at_work(const std::string& url, opencode::server_config config)
    : world_(io_.get_executor(),
             [this](const log_record& record) {
                 log_error(record.event + ' ' + record.session + ' ' + record.error_class + ' ' +
                           record.error_message + ' ' + record.action);
             }),
      server_(world_, url, std::move(config)),
      tasks_(world_, [this](std::exception_ptr e) { log_error("exception: " + what_of(e)); }),
      work_(io_.get_executor()) {
    tasks_.spawn(server_.run());
    thread_ = std::thread([this] { io_.run(); });
}

library_at_work::~library_at_work() {
    server_.stop();
    inside([this] {
        tasks_.cancel();
        sessions_.clear();
        work_.reset(); // what was cancelled ends, and then the thread
    });
    thread_.join();
}

void library_at_work::log_error(const std::string& text) {
    const std::lock_guard lock(mutex_);
    log_ += text + '\n';
}

std::string library_at_work::log() const {
    const std::lock_guard lock(mutex_);
    return log_;
}

void library_at_work::inside(std::function<void()> what) {
    std::promise<void> done;
    net::post(io_, [&] {
        what();
        done.set_value();
    });
    done.get_future().wait();
}

std::string library_at_work::new_session(const std::string& directory) {
    const auto made = std::make_shared<std::promise<std::string>>();
    auto id = made->get_future();
    inside([&] { tasks_.spawn(make_session(directory, made)); });
    if (id.wait_for(60s) != std::future_status::ready)
        throw std::runtime_error("no session within a minute; log:\n" + log());
    return id.get();
}

net::awaitable<void> library_at_work::make_session(std::string directory,
                                                   std::shared_ptr<std::promise<std::string>> made) {
    const opencode::session_request how;
    for (;;) {
        auto session = co_await server_.create_session(how, directory);
        if (session) {
            sessions_.emplace(session->id(), *session);
            made->set_value(session->id());
            co_return;
        }
        co_await world_.sleep_for(milliseconds(200));
    }
}

void library_at_work::drop(const std::string& session) {
    inside([&] { sessions_.erase(session); });
}

std::shared_ptr<told_turn> library_at_work::prompt(const std::string& session, const std::string& text,
                                                   const std::string& reply) {
    auto told = std::make_shared<told_turn>(session, reply);
    inside([&] { tasks_.spawn(follow(told, sessions_.at(session), text)); });
    return told;
}

net::awaitable<void> library_at_work::follow(std::shared_ptr<told_turn> told, opencode::session session,
                                             std::string text) {
    auto turn = co_await session.prompt(text);
    told->handle_ = turn;
    told->change([&] { told->message_ = turn.message_id(); });
    while (auto event = co_await turn.next()) {
        const auto now = told_turn::clock::now();
        if (const auto* ask = std::get_if<opencode::permission_event>(&*event); ask && !ask->reply)
            tasks_.spawn(answer(told, ask->request.id));
        if (const auto* ask = std::get_if<opencode::question_event>(&*event); ask && !ask->reply)
            tasks_.spawn(answer_question(told, ask->request.id));
        told->change([&] { told->told_.push_back({now, std::move(*event)}); });
    }
    told->handle_.reset();
    told->change([&] { told->ended_ = true; });
}

net::awaitable<void> library_at_work::answer(std::shared_ptr<told_turn> told, std::string ask) {
    while (told->handle_) {
        auto turn = *told->handle_;
        const auto done = co_await turn.reply_permission(ask, told->reply());
        if (done || done.error().status == 404)
            co_return;
        co_await world_.sleep_for(milliseconds(100));
    }
}

net::awaitable<void> library_at_work::answer_question(std::shared_ptr<told_turn> told, std::string ask) {
    const std::vector<std::vector<std::string>> answers(1, std::vector<std::string>(1, "Red"));
    while (told->handle_) {
        auto turn = *told->handle_;
        const auto done = co_await turn.reply_question(ask, answers);
        if (done || done.error().status == 404)
            co_return;
        co_await world_.sleep_for(milliseconds(100));
    }
}

void library_at_work::abort(const std::shared_ptr<told_turn>& turn) {
    inside([&] { tasks_.spawn(ask_abort(turn)); });
}

net::awaitable<void> library_at_work::ask_abort(std::shared_ptr<told_turn> told) {
    while (!told->handle_ && !told->ended_)
        co_await world_.sleep_for(milliseconds(5)); // not posted yet
    if (!told->handle_)
        co_return;
    told->change([&] { told->abort_asked_at_ = told_turn::clock::now(); });
    while (told->handle_) {
        auto turn = *told->handle_;
        const auto done = co_await turn.abort();
        if (done) {
            told->change([&] { told->abort_accepted_at_ = told_turn::clock::now(); });
            co_return;
        }
        co_await world_.sleep_for(milliseconds(100));
    }
}

} // namespace holdfast::test
