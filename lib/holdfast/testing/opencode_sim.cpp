#include <holdfast/testing/opencode_sim.hpp>

#include <holdfast/testing/sim_server.hpp>

#include <random>

namespace holdfast::testing {

namespace {

opencode_sim::options with_version(opencode_sim::options settings) {
    if (settings.version.empty())
        settings.version = settings.protocol == 2 ? "2.0.26" : "1.18.33";
    return settings;
}

} // namespace

opencode_sim::options opencode_sim::options_from(std::uint64_t seed) {
    std::mt19937_64 chance(seed);
    const auto between = [&](std::int64_t least, std::int64_t most) {
        return milliseconds(
            least + static_cast<std::int64_t>(chance() % static_cast<std::uint64_t>(most - least + 1)));
    };
    const auto sometimes = [&](std::uint64_t most_percent) {
        return static_cast<double>(chance() % (most_percent + 1)) / 100;
    };
    options out;
    out.seed = chance();
    out.pace = between(1, 40);
    out.cold_start = between(0, 3000);
    out.restart_down = between(100, 3000);
    out.startup_hang = between(600, 900);
    out.titles = chance() % 4 != 0;
    out.late_events = sometimes(30);
    out.lag = between(20, 400);
    out.ask_first = sometimes(100);
    out.plugin_error = sometimes(10);
    out.late_heartbeat = sometimes(10);
    out.late_idle = sometimes(50);
    return out;
}

opencode_sim::opencode_sim(options settings)
    : impl_(std::make_unique<impl>(with_version(std::move(settings)))) {}
opencode_sim::opencode_sim(opencode_sim&&) noexcept = default;
opencode_sim& opencode_sim::operator=(opencode_sim&&) noexcept = default;
opencode_sim::~opencode_sim() = default;

opencode_sim::connection_id opencode_sim::accept(time_point now) {
    return impl_->accept(now);
}
void opencode_sim::receive(connection_id id, std::string_view bytes, time_point now) {
    impl_->receive(id, bytes, now);
}
void opencode_sim::closed(connection_id id, time_point now) {
    impl_->closed(id, now);
}
void opencode_sim::advance(time_point now) {
    impl_->advance(now);
}
std::optional<time_point> opencode_sim::next_wakeup() const {
    return impl_->next_wakeup();
}
std::vector<opencode_sim::output> opencode_sim::take_output() {
    return impl_->take_output();
}
bool opencode_sim::listening() const {
    return impl_->listening();
}
void opencode_sim::restart(time_point now, stop how) {
    impl_->restart(now, how);
}
void opencode_sim::terminate(time_point now) {
    impl_->terminate(now);
}
void opencode_sim::upgrade(int protocol, std::string version) {
    impl_->upgrade(protocol, std::move(version));
}
void opencode_sim::end_streams(time_point now) {
    impl_->end_streams(now);
}
void opencode_sim::kill(time_point now) {
    impl_->kill(now);
}
void opencode_sim::start(time_point now) {
    impl_->start(now);
}
void opencode_sim::set_hang(bool on) {
    impl_->set_hang(on);
}
void opencode_sim::set_frozen(bool on, time_point now) {
    impl_->set_frozen(on, now);
}
void opencode_sim::set_mute(bool on) {
    impl_->set_mute(on);
}
void opencode_sim::cut_streams(time_point now) {
    impl_->cut_streams(now);
}
void opencode_sim::stall_streams() {
    impl_->stall_streams();
}
void opencode_sim::refuse(duration d, time_point now) {
    impl_->refuse(d, now);
}
void opencode_sim::dispose_instance(std::string_view directory, time_point now) {
    impl_->dispose(std::string(directory), now);
}
void opencode_sim::move_session(std::string_view session, std::string directory) {
    impl_->move_session(std::string(session), directory);
}
void opencode_sim::archive_session(std::string_view session) {
    impl_->archive_session(std::string(session));
}
void opencode_sim::set_password(std::string password) {
    impl_->set_password(std::move(password));
}
void opencode_sim::inject(fault f) {
    impl_->inject(f);
}
void opencode_sim::clear_faults() {
    impl_->clear_faults();
}
void opencode_sim::on_event(std::function<void(std::string_view, std::string_view)> tap) {
    impl_->on_event(std::move(tap));
}
std::vector<opencode_sim::turn_truth> opencode_sim::truth() const {
    return impl_->truth();
}
opencode_sim::counters opencode_sim::stats() const {
    return impl_->stats();
}

const char* to_string(opencode_sim::outcome o) noexcept {
    switch (o) {
    case opencode_sim::outcome::pending: return "pending";
    case opencode_sim::outcome::completed: return "completed";
    case opencode_sim::outcome::failed: return "failed";
    case opencode_sim::outcome::aborted: return "aborted";
    case opencode_sim::outcome::rejected: return "rejected";
    case opencode_sim::outcome::unanswered: return "unanswered";
    case opencode_sim::outcome::interrupted: return "interrupted";
    }
    return "";
}

} // namespace holdfast::testing
