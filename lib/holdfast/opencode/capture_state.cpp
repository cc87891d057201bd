#include <holdfast/opencode/capture_state.hpp>

#include <utility>

namespace holdfast::opencode {
namespace {

/// An answer that makes no sense (a proxy's page, a damaged body) says nothing of the next one; a status
/// does.
failure as_waited_for(failure f) {
    if (f.cls != failure_class::http_status && retry::is_final(f))
        f.cls = failure_class::early_end;
    return f;
}

} // namespace

capture_state::capture_state(retry::policy policy) : schedule_(std::move(policy)) {}

void capture_state::at(const endpoint& where) {
    if (where_ && *where_ != where)
        succeeded();
    where_ = where;
}

void capture_state::succeeded() noexcept {
    wake();
    last_.reset();
}

void capture_state::wake() noexcept {
    schedule_.reset();
    next_try_ = time_point::min();
}

capture_state::verdict capture_state::failed(const retry::failure& f, time_point now, std::uint64_t random) {
    verdict told;
    if (last_)
        told.what = last_->why.cls == f.cls ? news::repeat : news::changed;
    last_ = last_failure{f, now};
    last_->why.headers.clear();
    last_->why.body.clear();

    const auto next = schedule_.on_end(as_waited_for(f), duration::zero(), now, random);
    told.stop = next.give_up;
    if (told.stop) {
        next_try_ = time_point::max();
        return told;
    }
    told.delay = next.delay;
    next_try_ = later(now, told.delay);
    return told;
}

} // namespace holdfast::opencode
