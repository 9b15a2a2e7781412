// The bank rule: tap t reads from, or writes to, bank (bank + t) mod 9, at its row. A bank has one
// request at most of each kind, and none without a tap.
  always @(*) assume (read_bank <= 8 & write_bank <= 8);
  integer f_bank, f_tap;
  reg [3:0] f_reads, f_writes;
  always @(*)
    for (f_bank = 0; f_bank < 9; f_bank = f_bank + 1) begin
      f_reads = 0;
      f_writes = 0;
      for (f_tap = 0; f_tap < 9; f_tap = f_tap + 1) begin
        if (read_mask[f_tap] & (6'(read_bank) + f_tap) % 9 == f_bank) begin
          f_reads = f_reads + 1;
          assert (bank__raddr[f_bank] == read_rows[f_tap*Q +: Q]);
        end
        if (write_mask[f_tap] & (6'(write_bank) + f_tap) % 9 == f_bank) begin
          f_writes = f_writes + 1;
          assert (bank__waddr[f_bank] == write_rows[f_tap*Q +: Q]);
          assert (bank__wdata[f_bank] == write_data[f_tap*8 +: 8]);
        end
      end
      assert (f_reads <= 1 & f_writes <= 1);
      assert (bank__ren[f_bank] == (go & f_reads == 1));
      assert (bank__wen[f_bank] == (f_writes == 1));
    end
