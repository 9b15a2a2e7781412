// Tap t is `reach` rows and t bytes after the first: in bank (bank + t) mod 9, a row further if that
// is past the last bank.
  integer f_tap;
  always @(*)
    for (f_tap = 0; f_tap < 9; f_tap = f_tap + 1)
      if (bank <= 8)
        assert (rows[f_tap*Q +: Q] == Q'(row + reach[f_tap*Q +: Q] + (bank + f_tap) / 9));
