// AXI4-Lite: a response stays until it is taken, and there is one for each access. It begins with
// nothing open.
  formal_stream #(.W(2)) f_b (.clk, .reset, .val(bvalid), .rdy(bready), .msg(bresp));
  formal_stream #(.W(34)) f_r (.clk, .reset, .val(rvalid), .rdy(rready), .msg({rresp, rdata}));
  reg [1:0] f_addresses = 0, f_words = 0, f_reads = 0;  // without a response yet
  always @(posedge clk)
    if (reset) begin
      f_addresses <= 0;
      f_words <= 0;
      f_reads <= 0;
    end else begin
      f_addresses <= f_addresses + (awvalid & awready) - (bvalid & bready);
      f_words <= f_words + (wvalid & wready) - (bvalid & bready);
      f_reads <= f_reads + (arvalid & arready) - (rvalid & rready);
    end
  // Cycles in which a whole access waits for nothing but its answer
  reg f_wrote = 0, f_read = 0;
  always @(posedge clk) begin
    f_wrote <= ~reset & waddr_val & word_val & ~bvalid;
    f_read <= ~reset & raddr_val;
  end
  always @(*)
    if (f_began & ~reset) begin
      assert (f_addresses == 2'(waddr_val) + 2'(bvalid));
      assert (f_words == 2'(word_val) + 2'(bvalid));
      assert (f_reads == 2'(raddr_val) + 2'(rvalid) & f_reads <= 1);
      if (f_wrote) assert (bvalid);
      if (f_read) assert (rvalid);
    end
