// How much text is kept of turns that are only followed: what was delivered of them is dropped from its
// beginning, the oldest first. Not for users.
#pragma once

#include <holdfast/opencode/ledger/session_ledger.hpp>

#include <cstddef>
#include <string>

namespace holdfast::opencode::ledger {

class audience;

class kept_text {
public:
    /// `most`: bytes of all parts together; 0: all is kept.
    kept_text(session_ledger& ledger, const audience& listeners, std::size_t most)
        : ledger_(ledger), audience_(listeners), most_(most) {}

    /// What was not delivered of this part, which is delivered now.
    [[nodiscard]] std::string take_undelivered(const turn_facts& t, part_record& p);
    /// To be called when text may have come.
    void bound();

private:
    [[nodiscard]] bool keeps_all(const turn_facts& t) const;
    [[nodiscard]] bool keeps_all(const message_record& m) const;
    template <class Part>
    void each_bounded_part(Part take);
    void drop_delivered_before(const part_record& last);
    /// Where there was too much, so much is left: else the parts would be counted for every piece that comes.
    [[nodiscard]] std::size_t enough() const noexcept { return most_ / 4 * 3; }

    session_ledger& ledger_;
    const audience& audience_;
    std::size_t most_;
    std::size_t counted_ = 0; ///< bytes kept, when they were counted last
    std::size_t since_ = 0;   ///< at most so many came after that
};

} // namespace holdfast::opencode::ledger
